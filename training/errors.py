"""
What can keep a job from making an artifact.

    TrainingError
    ├── NothingToTrainOn    load products and events first
    ├── WrongInput          a file or a setting is not what it must be; its message says how
    ├── QualityTooLow       the new artifact is worse than its gate allows; nothing was published
    ├── UnknownIndex        FAISS knows no such kind of index
    ├── RunFailed           the Ray Train run ended without an artifact
    └── ClusterNotFound     there is no Ray cluster to run in
"""

from __future__ import annotations


class TrainingError(Exception):
    """A job could not make its artifact."""


class NothingToTrainOn(TrainingError):
    """The database holds no events or products to learn from; load some, then run the job again."""


class WrongInput(TrainingError):
    """A file or a setting that the job was given is not what it must be."""


class QualityTooLow(TrainingError):
    """What was trained is worse than its gate allows; the version in use stays."""


class UnknownIndex(TrainingError):
    """FAISS knows no such kind of index; name one such as ``IVF2048,SQ8``, or leave the choice to the size."""


class RunFailed(TrainingError):
    """The Ray Train run ended without an artifact; its own error is above."""


class ClusterNotFound(TrainingError):
    """No Ray cluster answers; submit the job to one, or set RAY_ADDRESS."""

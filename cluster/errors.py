"""
What can go wrong in the launcher. Each error is advice, and each carries the exit code of the command.

ClusterError (1)
├── UsageError (2)           an option or the configuration is wrong
├── NotRunning (3)           the local stack is not running
├── PortInUse (4)            another process holds a port that was asked for
├── RejectedInput (5)        part of an imported file was refused
├── StateUnusable (6)        the state directory cannot be used
├── DeployFailed (7)         Serve did not bring the application up
├── TrainingFailed (8)       a training job failed
├── JobUnknown (1)           a Ray cluster knows no job of that name
├── NoAnswer (1)             a server does not answer; it may do so later
├── PromotionRefused (9)     the read replica cannot take the primary's place; nothing was changed
├── VersionRefused (10)      an artifact version is not put into use; the one in use stays
└── ServerFailed (1)         a server did not start or died
"""

from __future__ import annotations

from typing import ClassVar


class ClusterError(Exception):
    """Something failed; the message says what, and what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(ClusterError):
    """An option, an environment variable or a configuration file is wrong."""

    exit_code = 2


class NotRunning(ClusterError):
    """The local stack is not running. Start it with ``shortlist up``."""

    exit_code = 3


class PortInUse(ClusterError):
    """Another process holds a port that was asked for. Choose another with the option named in the message."""

    exit_code = 4


class RejectedInput(ClusterError):
    """Part of an imported file was refused; the rest is loaded."""

    exit_code = 5


class StateUnusable(ClusterError):
    """The state directory cannot be used. Choose another with ``--state-dir``."""

    exit_code = 6


class DeployFailed(ClusterError):
    """Serve did not bring the application up."""

    exit_code = 7


class TrainingFailed(ClusterError):
    """A training job failed; its log says why."""

    exit_code = 8


class JobUnknown(ClusterError):
    """A Ray cluster knows no job of that name. One that was started again has forgotten all."""


class NoAnswer(ClusterError):
    """A server does not answer; it may do so later."""


class PromotionRefused(ClusterError):
    """The read replica cannot take the primary's place now; nothing was changed."""

    exit_code = 9


class VersionRefused(ClusterError):
    """A version of an artifact did not pass the gate; the version in use stays."""

    exit_code = 10


class ServerFailed(ClusterError):
    """A server did not start, or died and could not be started again; its log says why."""

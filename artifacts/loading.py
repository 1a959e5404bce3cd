"""Loading a version so that whatever goes wrong is an error of the artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from artifacts.errors import ArtifactCorrupt, ArtifactError
from artifacts.manifest import Manifest

T = TypeVar("T")


def load_or_refuse(load: Callable[[Path, Manifest], T], directory: Path, manifest: Manifest) -> T:
    """
    Return what *load* makes of a version.

    Raises:
        ArtifactError: it cannot be loaded, whatever it was that *load* raised.
    """
    try:
        return load(directory, manifest)
    except (ArtifactError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a panic of the tokenizers' Rust code is no Exception
        raise ArtifactCorrupt(
            f"{manifest.kind} {manifest.version} cannot be loaded: {error}. Activate another version."
        ) from error

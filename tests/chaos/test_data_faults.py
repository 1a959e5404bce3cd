from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bench.chaos.data_faults import corrupted
from bench.chaos.fault import CannotBeDone
from bench.chaos.subject import Subject

CONTENT = bytes(range(64))


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """Three versions of one kind, held by no replica."""
    for version in ("20260101T000000Z-aaaaaa", "20260102T000000Z-bbbbbb", "20260103T000000Z-cccccc"):
        directory = tmp_path / "embeddings" / version
        directory.mkdir(parents=True)
        (directory / "index.faiss").write_bytes(CONTENT)
    fake = SimpleNamespace(
        state=SimpleNamespace(artifacts=tmp_path), replicas=lambda _name: [], strike=lambda: None, complain=print
    )
    return cast("Subject", fake)


class TestCorrupted:
    def test_no_version_is_left_that_could_step_in_and_all_are_sound_again_afterwards(
        self, subject: Subject, tmp_path: Path
    ) -> None:
        files = sorted(tmp_path.glob("embeddings/*/index.faiss"))
        with corrupted("embeddings", "index.faiss", restarting=("search",))(subject):
            assert [len(file.read_bytes()) for file in files] == [64] * 3
            assert all(file.read_bytes() != CONTENT for file in files)
        assert [file.read_bytes() for file in files] == [CONTENT] * 3
        assert sorted(tmp_path.glob("embeddings/*/*")) == files

    def test_a_version_that_is_trained_meanwhile_stays_as_it_is(self, subject: Subject, tmp_path: Path) -> None:
        with corrupted("embeddings", "index.faiss", restarting=())(subject):
            trained = tmp_path / "embeddings" / "20260104T000000Z-dddddd" / "index.faiss"
            trained.parent.mkdir()
            trained.write_bytes(b"new")
        assert trained.read_bytes() == b"new"

    def test_a_file_that_no_version_has_cannot_be_corrupted(self, subject: Subject) -> None:
        with (
            pytest.raises(CannotBeDone, match="No version of embeddings"),
            corrupted("embeddings", "x", restarting=())(subject),
        ):
            pass

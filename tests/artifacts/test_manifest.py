from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from artifacts.manifest import FileRecord, Manifest, ManifestDraft, is_version, new_version


class TestNewVersion:
    def test_it_names_the_second(self) -> None:
        assert new_version(datetime(2026, 11, 22, 15, 4, 5, tzinfo=UTC)).startswith("20261122T150405Z-")

    def test_two_of_a_second_differ(self) -> None:
        now = datetime.now(UTC)
        assert new_version(now) != new_version(now)

    def test_it_is_a_version(self) -> None:
        assert is_version(new_version())


class TestIsVersion:
    @pytest.mark.parametrize("name", ["", "ACTIVE", "20261122T150405Z", "20261122T150405Z-abcdef/..", "\n"])
    def test_other_names_are_none(self, name: str) -> None:
        assert not is_version(name)


class TestManifest:
    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "a\\b", "."])
    def test_files_lie_inside(self, name: str) -> None:
        record = FileRecord(sha256="0" * 64, bytes=0)
        with pytest.raises(ValidationError):
            Manifest(kind="popularity", files={name: record})

    def test_it_survives_json(self) -> None:
        manifest = Manifest(kind="popularity", files={"a/b": FileRecord(sha256="0" * 64, bytes=3)}, metrics={"x": 0.5})
        assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest

    def test_unknown_kinds_are_refused(self) -> None:
        with pytest.raises(ValidationError):
            ManifestDraft.model_validate({"kind": "other"})

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.activations import Activation, entry_name
from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import MANIFEST_NAME, ArtifactKind, ManifestDraft
from artifacts.retention import remove, retention
from artifacts.store import ArtifactStore

KIND: ArtifactKind = "collaborative"
NOW = datetime(2026, 11, 22, 15, tzinfo=UTC)


def publish(store: ArtifactStore, number: int, *, hours_ago: float, parent: str | None = None) -> str:
    """A version of a few bytes."""
    at = NOW - timedelta(hours=hours_ago)
    draft = ManifestDraft(kind=KIND, version=f"20261101T1500{number:02d}Z-abcdef", created_at=at, parent=parent)
    with tempfile.TemporaryDirectory() as source:
        (Path(source) / "note").write_text("x" * 100)
        return store.publish(Path(source), draft).version


def use(store: ArtifactStore, version: str, *, hours_ago: float, replaced: str | None = None) -> None:
    """Put *version* into use, at that time."""
    at = NOW - timedelta(hours=hours_ago)
    entry = Activation(version=version, replaced=replaced, activated_at=at)
    directory = Path(store.root) / KIND
    (directory / "history").mkdir(exist_ok=True)
    (directory / "history" / entry_name(entry)).write_text(entry.model_dump_json())
    (directory / "ACTIVE").write_text(version)


def removed(store: ArtifactStore, **options: float) -> list[str]:
    return [each.name for each in retention(store, KIND, served={}, now=NOW, **options).remove]


class TestRetention:
    def test_a_day_counts_from_publication_and_from_the_end_of_use(self, store: ArtifactStore) -> None:
        ages = (100, 90, 80, 70, 23)
        old, replaced_lately, before, active, new = (publish(store, n, hours_ago=age) for n, age in enumerate(ages))
        for version, hours_ago in ((old, 99), (replaced_lately, 60), (before, 20), (active, 10)):
            use(store, version, hours_ago=hours_ago)
        found = retention(store, KIND, served={}, now=NOW)
        assert [each.name for each in found.remove] == [old]
        assert found.keep == {
            replaced_lately: "in use until 20.0 h ago",
            before: "a rollback goes to it",
            active: "active",
            new: "published 23.0 h ago",
        }
        assert removed(store, keep_hours=48.0) == [old]
        assert removed(store, keep_hours=72.0) == []

    def test_less_than_a_day_is_refused(self, store: ArtifactStore) -> None:
        with pytest.raises(ValueError, match="at least 24 hours"):
            retention(store, KIND, served={}, keep_hours=1)

    def test_the_parent_of_the_active_one_and_what_it_replaced_stay(self, store: ArtifactStore) -> None:
        parent, other, unused = (publish(store, number, hours_ago=500) for number in range(3))
        active = publish(store, 3, hours_ago=400, parent=parent)
        use(store, active, hours_ago=300, replaced=other)
        found = retention(store, KIND, served={}, now=NOW)
        assert [each.name for each in found.remove] == [unused]
        assert set(found.keep) == {parent, other, active}

    def test_what_the_graph_uses_stays(self, store: ArtifactStore) -> None:
        stands_in, active = (publish(store, number, hours_ago=500) for number in range(2))
        use(store, active, hours_ago=300)
        assert removed(store) == [stands_in]
        assert retention(store, KIND, served={stands_in: ["search"]}, now=NOW).remove == []

    def test_where_none_was_ever_active_all_stay(self, store: ArtifactStore) -> None:
        publish(store, 0, hours_ago=500)
        assert removed(store) == []

    @pytest.mark.parametrize("scribble", [None, "scribble"])
    def test_where_nobody_knows_what_is_in_use_nothing_is_said_to_go(
        self, store: ArtifactStore, scribble: str | None
    ) -> None:
        use(store, publish(store, 0, hours_ago=500), hours_ago=400)
        active = Path(store.root) / KIND / "ACTIVE"
        active.unlink()
        if scribble:
            active.write_text(scribble)
        with pytest.raises(ArtifactCorrupt):
            retention(store, KIND, served={}, now=NOW)

    def test_a_version_with_a_damaged_manifest_goes_by_the_age_of_its_files(self, store: ArtifactStore) -> None:
        damaged, active = (publish(store, number, hours_ago=500) for number in range(2))
        use(store, active, hours_ago=300)
        manifest = Path(store.root) / KIND / damaged / MANIFEST_NAME
        manifest.write_text("{")
        assert removed(store) == []
        for path in manifest.parent.iterdir():
            os.utime(path, (0, 0))
        assert removed(store) == [damaged]

    def test_the_bytes_are_those_that_lie_there(self, store: ArtifactStore) -> None:
        old, active = (publish(store, number, hours_ago=500) for number in range(2))
        use(store, active, hours_ago=300)
        manifest = Path(store.root) / KIND / old / MANIFEST_NAME
        found = retention(store, KIND, served={}, now=NOW).remove
        assert [each.bytes for each in found] == [100 + manifest.stat().st_size]
        assert remove(store, KIND, found[0])
        assert not manifest.parent.exists()
        assert not list((Path(store.root) / KIND).glob(".staging-*"))

    def test_what_a_killed_writer_left_goes_after_a_day(self, store: ArtifactStore) -> None:
        use(store, publish(store, 0, hours_ago=500), hours_ago=400)
        left = Path(store.root) / KIND / ".staging-x"
        left.mkdir()
        (left / "half").write_text("x" * 50)
        for hours_ago, expected in ((23.0, []), (25.0, [".staging-x"])):
            at = NOW.timestamp() - hours_ago * 3600
            os.utime(left / "half", (at, at))
            os.utime(left, (at, at))
            assert removed(store) == expected
        found = retention(store, KIND, served={}, now=NOW).remove
        assert found[0].bytes == 50
        assert remove(store, KIND, found[0])
        assert not left.exists()

    @settings(max_examples=25, deadline=None)
    @given(
        ages=st.lists(st.floats(0, 100), min_size=1, max_size=5),
        uses=st.lists(st.tuples(st.integers(0, 4), st.floats(0, 100)), min_size=1, max_size=6),
        served=st.integers(0, 4),
    )
    def test_never_what_is_active_before_it_served_or_young(
        self, ages: list[float], uses: list[tuple[int, float]], served: int
    ) -> None:
        directory = tempfile.mkdtemp()
        try:
            store = ArtifactStore(directory)
            versions = [publish(store, number, hours_ago=age) for number, age in enumerate(ages)]
            replaced = None
            for number, hours_ago in sorted(uses, key=lambda each: -each[1]):
                version = versions[number % len(versions)]
                use(store, version, hours_ago=hours_ago, replaced=replaced)
                replaced = version
            uses_it = versions[served % len(versions)]
            gone = {each.name for each in retention(store, KIND, served={uses_it: ["x"]}, now=NOW).remove}
            before = store.in_use_before(KIND)[:1]
            young = {version for version, age in zip(versions, ages, strict=True) if age < 24}
            assert not gone & {store.active_version(KIND), uses_it, *before, *young}
        finally:
            shutil.rmtree(directory)

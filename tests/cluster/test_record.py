from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import StateUnusable
from cluster.identity import ProcessIdentity
from cluster.record import StackRecord


class TestStackRecord:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        process = ProcessIdentity(pid=1, created_at=2.5)
        record = StackRecord(
            guard=process,
            supervisor=process,
            url="http://127.0.0.1:8000",
            http_host="127.0.0.1",
            http_port=8000,
            database_url="postgresql:///a",
            replica_urls=["postgresql:///b"],
            redis_url="unix:///c",
        )
        record.write(tmp_path / "supervisor.json")
        assert StackRecord.read(tmp_path / "supervisor.json") == record

    def test_no_file_is_no_record(self, tmp_path: Path) -> None:
        assert StackRecord.read(tmp_path / "supervisor.json") is None

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"condition": "ready"}'])
    def test_a_damaged_file_is_refused_with_what_to_do(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "supervisor.json").write_text(text)
        with pytest.raises(StateUnusable, match=r"supervisor\.json is damaged.*remove the file"):
            StackRecord.read(tmp_path / "supervisor.json")

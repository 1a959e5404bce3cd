from __future__ import annotations

from pathlib import Path

from cluster.log_files import cut_long_logs


class TestCutLongLogs:
    def test_a_writer_goes_on_in_the_emptied_file(self, tmp_path: Path) -> None:
        log = tmp_path / "valkey.log"
        with log.open("ab", buffering=0) as writer:
            writer.write(b"x" * 11)
            assert cut_long_logs(tmp_path, limit_bytes=10) == [log]
            writer.write(b"new")
        assert log.read_bytes() == b"new"
        assert (tmp_path / "valkey.log.1").read_bytes() == b"x" * 11

    def test_a_short_file_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "valkey.log").write_bytes(b"x" * 10)
        assert cut_long_logs(tmp_path, limit_bytes=10) == []

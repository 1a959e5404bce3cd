from __future__ import annotations

from pathlib import Path

from cluster.record import StackRecord
from cluster.stack_options import StackOptions
from cluster.state_directory import StateDirectory
from cluster.supervisor import Supervisor
from tests.small_disk import fill, small_disk


class TestFullDisk:
    def test_the_supervisor_goes_on_and_writes_its_record_when_there_is_room_again(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", megabytes=200) as disk:
            state = StateDirectory(disk / "state")
            for directory in (state.run, state.logs, state.artifacts):
                directory.mkdir(parents=True)
            options = StackOptions(
                state_dir=str(state.root),
                parts=(),
                http_host="127.0.0.1",
                http_port=1,
                dashboard_port=2,
                training_dashboard_port=3,
            )
            supervisor = Supervisor(options, state)
            supervisor.save()
            supervisor.record.condition = "ready"
            filler = fill(disk)
            supervisor.record.error = "x" * 100_000
            supervisor.save()
            assert supervisor.unsaved
            written = StackRecord.read(state.record)
            assert written is not None
            assert written.condition == "starting"
            assert not state.record.with_suffix(".partial").exists()
            filler.unlink()
            supervisor.save()
            assert not supervisor.unsaved
            written = StackRecord.read(state.record)
            assert written is not None
            assert written.condition == "ready"

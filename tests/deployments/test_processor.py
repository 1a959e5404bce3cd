from __future__ import annotations

import time

from deployments.processor import Processor


class TestProcessor:
    def test_work_shows_as_a_share_of_all_there_is(self) -> None:
        processor = Processor()
        begun_s = time.process_time()
        while time.process_time() < begun_s + 0.2:
            pass
        assert 0 < processor.busy() <= 1

    def test_in_no_time_nothing_was_worked(self) -> None:
        processor = Processor()
        assert all(0 <= processor.busy() <= 1 for _ in range(100))

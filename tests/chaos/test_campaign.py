from __future__ import annotations

from bench.chaos.campaign import drawn
from bench.chaos.faults import BY_NAME, FAULTS, PAIRS, RANDOM, both


class TestDrawn:
    def test_a_seed_draws_the_same_faults_again_and_another_one_others(self) -> None:
        faults = [BY_NAME[name] for name in RANDOM]
        first, again, other = (list(drawn(faults, 50, seed)) for seed in (1, 1, 2))
        assert first == again
        assert first != other


class TestFaults:
    def test_each_has_a_name_of_its_own(self) -> None:
        assert len(BY_NAME) == len(FAULTS)

    def test_two_at_once_show_what_each_shows_alone(self) -> None:
        for names in PAIRS:
            first, second = (BY_NAME[name] for name in names)
            assert first.visible.pairs | second.visible.pairs <= both(first, second).visible.pairs

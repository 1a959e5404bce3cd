from __future__ import annotations

from training.early_stopping import EarlyStopping


def after(*figures: float, patience: int = 2) -> EarlyStopping:
    stopping = EarlyStopping(patience)
    for step, figure in enumerate(figures):
        stopping.saw(figure, step)
    return stopping


class TestEarlyStopping:
    def test_the_best_figure_and_its_step_are_kept(self) -> None:
        stopping = after(0.1, 0.3, 0.2)
        assert (stopping.best, stopping.best_step, stopping.is_over) == (0.3, 1, False)

    def test_it_is_over_once_the_figure_has_not_risen_so_often(self) -> None:
        assert after(0.3, 0.3, 0.2).is_over

    def test_a_better_figure_begins_the_count_anew(self) -> None:
        assert not after(0.3, 0.2, 0.4, 0.1).is_over

    def test_what_is_not_a_number_is_never_the_best(self) -> None:
        stopping = after(0.1, float("nan"), float("nan"))
        assert (stopping.best, stopping.is_over) == (0.1, True)

    def test_it_goes_on_from_its_state(self) -> None:
        stopping = after(0.3, 0.2)
        assert EarlyStopping(**stopping.as_state()) == stopping

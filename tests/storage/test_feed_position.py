from __future__ import annotations

import pytest

from storage.feed_position import FeedPosition


class TestFeedPosition:
    def test_it_reads_as_it_is_written(self) -> None:
        assert str(FeedPosition.parse("761-1682")) == "761-1682"

    @pytest.mark.parametrize("text", ["", "1", "1-", "a-b", "1-2+3", "-1-2"])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="no position of the change feed"):
            FeedPosition.parse(text)

    def test_the_cursor_stops_before_what_may_still_be_open(self) -> None:
        position = FeedPosition().after([(7, 1), (8, 2), (10, 3), (10, 4)], open_from=9, more=False)
        assert (position.cursor, str(position), position.done) == ((8, 2), "8-2+2", [10])

    def test_what_was_ahead_is_passed_once_nothing_older_is_open(self) -> None:
        ahead = FeedPosition((8, 2)).after([(10, 3), (10, 4)], open_from=9, more=False)
        assert ahead.after([(9, 1)], open_from=11, more=False) == FeedPosition((10, 4))

    def test_what_is_ahead_stays_where_a_page_ends_before_it(self) -> None:
        ahead = FeedPosition((1, 1)).after([(10, 9)], open_from=2, more=False)
        position = ahead.after([(2, 1), (3, 2)], open_from=11, more=True)
        assert (position.cursor, position.done) == ((3, 2), [10])

    def test_a_transaction_that_a_page_cut_is_continued_at_the_cut(self) -> None:
        cut = FeedPosition((1, 1)).after([(5, 1), (5, 2)], open_from=5, more=True)
        assert (cut.first, cut.done) == ((5, 2), [])
        whole = cut.after([(5, 3), (6, 4)], open_from=5, more=False)
        assert (whole.first, whole.done, str(whole)) == ((1, 2), [5, 6], "1-1+4")

    def test_while_a_cut_is_continued_the_cursor_stays(self) -> None:
        """What lies before the cut was not looked at again."""
        cut = FeedPosition((1, 1)).after([(5, 1)], open_from=3, more=True)
        assert cut.after([(5, 2)], open_from=9, more=False).cursor == (1, 1)

    def test_without_its_cut_the_transaction_is_read_again(self) -> None:
        cut = FeedPosition((1, 1)).after([(4, 7), (5, 1)], open_from=3, more=True)
        assert (cut.without_cut().first, cut.without_cut().done) == ((1, 2), [4])

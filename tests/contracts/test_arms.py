from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.arms import in_share, personal_to, searcher
from contracts.requests import RecommendationRequest, SearchRequest

VERSION = "20261122T150000Z-abcdef"
GOLDEN = ["22", "26", "47"]
USERS = [str(number) for number in range(20_000)]


class TestInShare:
    def test_it_holds_about_that_share(self) -> None:
        for share in (0.01, 0.1, 0.5):
            got = sum(in_share(share, VERSION, user) for user in USERS) / len(USERS)
            assert abs(got - share) < 0.01

    def test_a_user_stays_in_it(self) -> None:
        """Where the hash came out otherwise, users would change versions with a release."""
        assert [user for user in USERS[:60] if in_share(0.1, VERSION, user)] == GOLDEN

    def test_another_version_has_other_users(self) -> None:
        one, other = ({user for user in USERS if in_share(0.1, version, user)} for version in (VERSION, "another"))
        assert len(one & other) < 0.02 * len(USERS)

    @given(st.text(), st.floats(0, 1), st.floats(0, 1))
    def test_a_larger_share_holds_the_smaller_one(self, user: str, one: float, other: float) -> None:
        assert in_share(min(one, other), VERSION, user) <= in_share(max(one, other), VERSION, user)

    @given(st.text())
    def test_everyone_is_in_all_and_nobody_in_none(self, user: str) -> None:
        assert in_share(1.0, VERSION, user)
        assert not in_share(0.0, VERSION, user)


class TestSearcher:
    def test_it_is_the_user_whatever_is_asked(self) -> None:
        subjects = {searcher(SearchRequest(q=q, user_id="7")) for q in ("wine", "film")}
        assert len(subjects) == 1

    def test_without_a_user_it_is_what_is_asked_on_every_page(self) -> None:
        pages = [SearchRequest(q="wine"), SearchRequest(q="wine", cursor="next", timeout_ms=20_000)]
        assert len({searcher(page) for page in pages}) == 1
        assert searcher(pages[0]) != searcher(SearchRequest(q="film"))

    def test_nobody_searches_who_wants_recommendations(self) -> None:
        assert searcher(RecommendationRequest(user_id="7")) is None


class TestPersonalTo:
    def test_popular_products_are_for_nobody(self) -> None:
        assert personal_to(RecommendationRequest(user_id="7", type="popular")) is None
        assert personal_to(RecommendationRequest(user_id="7")) == "7"

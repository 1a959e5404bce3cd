import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.consistency import ConsistencyToken
from contracts.requests import SearchRequest


class TestConsistencyToken:
    @given(st.integers(1, 2**31), st.integers(0, 2**64 - 1))
    def test_survives_its_text(self, timeline: int, position: int) -> None:
        token = ConsistencyToken(timeline, position)
        assert ConsistencyToken.parse(str(token)) == token

    @pytest.mark.parametrize("text", ["", "1", "0/1", "1-0/g", "1-0/1\n", "-1-0/1", "1-0/123456789"])
    def test_anything_else_is_refused_with_advice(self, text: str) -> None:
        with pytest.raises(ValueError, match="send back what a write returned"):
            ConsistencyToken.parse(text)

    def test_requests_carry_it(self) -> None:
        assert SearchRequest(q="a", consistency_token="1-0/3A5F2B0").consistency_token == "1-0/3A5F2B0"

from __future__ import annotations

import pytest

from artifacts.places import below


class TestBelow:
    @pytest.mark.parametrize(
        ("root", "expected"),
        [
            ("artifacts/", "artifacts/runs"),
            ("/odd?name", "/odd?name/runs"),
            ("s3://bucket/prefix", "s3://bucket/prefix/runs"),
            ("s3://bucket/prefix/?scheme=http&region=x", "s3://bucket/prefix/runs?scheme=http&region=x"),
        ],
    )
    def test_the_query_of_a_uri_stays_at_its_end(self, root: str, expected: str) -> None:
        assert below(root, "runs") == expected

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bench.chaos.stream import Questions, Request, StreamOptions
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest

TOKEN = "1-0/3000060"
KINDS = [(Questions.search, SearchRequest), (Questions.recommendation, RecommendationRequest)]


class TestQuestions:
    @pytest.mark.parametrize(("question", "shape"), KINDS)
    def test_every_read_is_one_that_the_api_takes_as_json_too(
        self, question: Callable[[Questions], Request], shape: type[ReadRequest]
    ) -> None:
        questions = Questions(StreamOptions("http://shop", "test"))
        questions.token = TOKEN
        for _ in range(50):
            asked = question(questions)
            assert shape.model_validate_json(json.dumps(asked.fields)).timeout_ms == 1000
            assert asked.query.keys() == asked.fields.keys()

    @pytest.mark.parametrize("question", [question for question, _ in KINDS])
    def test_some_are_posted_and_some_must_see_the_last_write(self, question: Callable[[Questions], Request]) -> None:
        questions = Questions(StreamOptions("http://shop", "test"))
        assert not any(question(questions).sees_write for _ in range(100))
        questions.token = TOKEN
        asked = [question(questions) for _ in range(600)]
        assert 100 < sum(each.posted for each in asked) < 300
        assert 50 < sum(each.sees_write for each in asked) < 150
        assert any(each.posted and each.sees_write for each in asked)

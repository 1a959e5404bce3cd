from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from artifacts.factors import Factors
from artifacts.manifest import DataWindow, ManifestDraft, new_version
from artifacts.store import ArtifactStore
from evaluation.logged_answers import LoggedAnswers
from ranking.config import RankingConfig
from tests.evaluation.made_up_answers import BEGAN, clicked_answers, config_of
from training.errors import NothingToTrainOn
from training.replay import Ranking, as_text, replay

WANTED = config_of(0.15, 0.6, 0.05, 0.2)
SAME = Ranking("serve.yaml", RankingConfig())


def published(store: ArtifactStore, answers: LoggedAnswers, directory: Path, *, end: float, right: bool) -> str:
    """
    A version whose factors know each user's taste, or the opposite of it.

    A user's vector is one axis for each of the products they were shown; known are those of users alone.
    """
    users = sorted({user for user in answers.user_ids if user is not None})
    of_rows = [answers.user_ids[answer] for answer in answers.answer_of.tolist()]
    rows = [row for row, user in enumerate(of_rows) if user is not None]
    liked = np.where(answers.clicked[rows] == right, 1.0, 0.1).astype(np.float32)
    factors = Factors(
        user_ids=users,
        item_ids=[answers.product_ids[row] for row in rows],
        user_factors=np.ones((len(users), 1), dtype=np.float32),
        item_factors=liked[:, None],
        regularization=1.0,
        alpha=1.0,
    )
    directory.mkdir()
    factors.save(directory)
    draft = ManifestDraft(
        kind="collaborative",
        version=new_version(),
        dim=1,
        metric="dot",
        counts={"users": len(users), "items": len(rows)},
        parameters={"cf_transform": {"kind": "clip"}},
        data_window=DataWindow(start=datetime.fromtimestamp(end - 1, UTC), end=datetime.fromtimestamp(end, UTC)),
    )
    return store.publish(directory, draft).version


class TestReplay:
    def test_two_sets_of_weights(self) -> None:
        answers = clicked_answers(WANTED, count=1500)
        found = replay(answers, (SAME, Ranking("other.yaml", WANTED)))
        assert found.position_bias == pytest.approx(1.0, abs=0.25)
        assert found.parts[0].weighted["ndcg_at_10"].difference.low > 0
        told = as_text(found)
        assert "second: other.yaml" in told
        assert "overlap@10 1.000" in told
        assert "An A/B test measures" not in told
        assert "an A/B test measures" in told

    def test_it_says_the_same_as_json(self) -> None:
        answers = clicked_answers(WANTED, count=200)
        document = replay(answers, (SAME, Ranking("other.yaml", WANTED)), position_bias=1.0).document()
        read = json.loads(json.dumps(document))
        assert read["first"] == {"name": "serve.yaml", "weights": RankingConfig().version, "cf": None}
        assert [part["part"] for part in read["parts"]][:3] == ["all", "recommendations", "search"]
        assert read["parts"][0]["clicks"] == 200

    def test_two_versions_of_factors(self, tmp_path: Path) -> None:
        answers = clicked_answers(RankingConfig(), count=300)
        store = ArtifactStore(str(tmp_path / "artifacts"))
        wrong, right = (
            published(store, answers, tmp_path / str(right), end=BEGAN - 60, right=right) for right in (False, True)
        )
        rankings = (Ranking("a", RankingConfig(), wrong), Ranking("a", RankingConfig(), right))
        found = replay(answers, rankings, store=store, position_bias=1.0)
        parts = {part.part: part for part in found.parts}
        assert parts["with a user"].weighted["mrr"].difference.low > 0
        assert parts["without a user"].weighted["mrr"].difference.mean == 0
        assert any("user and item factors" in caveat for caveat in found.caveats)

    def test_answers_that_a_version_may_have_learned_from_are_left_out(self, tmp_path: Path) -> None:
        answers = clicked_answers(RankingConfig(), count=100)
        store = ArtifactStore(str(tmp_path / "artifacts"))
        half, all_of_it = (
            published(store, answers, tmp_path / name, end=float(answers.shown_at[last]), right=True)
            for name, last in (("half", 49), ("all", 99))
        )
        rankings = (Ranking("a", RankingConfig(), half), Ranking("a", RankingConfig(), half))
        assert replay(answers, rankings, store=store, position_bias=1.0).left_out == 50
        rankings = (Ranking("a", RankingConfig(), half), Ranking("a", RankingConfig(), all_of_it))
        with pytest.raises(NothingToTrainOn, match="after both versions' data end"):
            replay(answers, rankings, store=store, position_bias=1.0)

    def test_answers_without_clicks_are_nothing_to_compare_by(self) -> None:
        answers = clicked_answers(RankingConfig(), count=5)
        with pytest.raises(NothingToTrainOn, match="nothing to compare by"):
            replay(answers.with_clicks(np.zeros(50, dtype=np.bool_)), (SAME, SAME))

"""Answers ranked by one configuration, clicked by users who want another: the right answer is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from evaluation.logged_answers import COLUMNS, LoggedAnswers
from ranking.config import FEATURES, RankingConfig, Weights
from ranking.scoring import MICROS, score

BEGAN = 1_767_225_600.0
"""Seconds since 1970 at which the first answer was shown; one a minute follows."""


def config_of(*weights: float, **category_weights: tuple[float, ...]) -> RankingConfig:
    """Weights in the order of FEATURES; by category likewise."""
    by_category = {name: Weights(**dict(zip(FEATURES, each, strict=True))) for name, each in category_weights.items()}
    return RankingConfig(weights=Weights(**dict(zip(FEATURES, weights, strict=True))), category_weights=by_category)


def clicked_answers(
    wanted: RankingConfig,
    *,
    count: int,
    shown_by: RankingConfig | None = None,
    size: int = 10,
    steepness: float = 10.0,
    position_bias: float = 1.0,
    categories: tuple[str | None, ...] = (None,),
    seed: int = 0,
) -> LoggedAnswers:
    """
    *count* answers with one click each, that falls by ``rank ** -position_bias * exp(steepness * score)``.

    The score is that of *wanted*; the order that of *shown_by*. A tenth of the products have no ``cf``, and a third of
    the answers are for nobody and have none at all.
    """
    random = np.random.default_rng(seed)
    rows = count * size
    answer = np.repeat(np.arange(count), size)
    features = {name: random.random(rows).round(6) for name in FEATURES}
    for_nobody = np.arange(count) % 3 == 0
    features["cf"][for_nobody[answer] | (random.random(rows) < 0.1)] = np.nan
    unordered = LoggedAnswers(
        starts=np.arange(count + 1) * size,
        shown_at=BEGAN + 60 * np.arange(count, dtype=np.float64),
        kinds=["search" if number % 2 else "recommendations" for number in range(count)],
        user_ids=[None if nobody else f"u{number % 200}" for number, nobody in enumerate(for_nobody.tolist())],
        product_ids=[f"p{row:07}" for row in range(rows)],
        ranks=np.tile(np.arange(1, size + 1), count),
        categories=[categories[each] for each in random.integers(0, len(categories), rows).tolist()],
        features=features,
        clicked=np.zeros(rows, dtype=np.bool_),
    )
    places = unordered.ranked_by(shown_by or RankingConfig())
    shown = reordered(unordered, np.lexsort((places, answer)))
    scores = score(shown.features, wanted.weights_of(shown.categories)).micros / MICROS
    chance = np.exp(steepness * scores) * shown.ranks.astype(float) ** -position_bias
    table = chance.reshape(count, size)
    drawn = random.random(count)[:, None] * table.sum(axis=1, keepdims=True)
    chosen = (np.cumsum(table, axis=1) < drawn).sum(axis=1)
    clicked = np.zeros((count, size), dtype=np.bool_)
    clicked[np.arange(count), chosen] = True
    return shown.with_clicks(clicked.ravel())


def reordered(answers: LoggedAnswers, order: np.ndarray) -> LoggedAnswers:
    """The same answers with other rows in the places of the old; ranks stay where they are."""
    rows = order.tolist()
    return LoggedAnswers(
        starts=answers.starts,
        shown_at=answers.shown_at,
        kinds=answers.kinds,
        user_ids=answers.user_ids,
        product_ids=[answers.product_ids[row] for row in rows],
        ranks=answers.ranks,
        categories=[answers.categories[row] for row in rows],
        features={name: values[order] for name, values in answers.features.items()},
        clicked=answers.clicked[order],
    )


def as_table(answers: LoggedAnswers) -> pa.Table:
    """The answers as a log of them is written."""
    of_rows = answers.answer_of.tolist()
    return pa.table(
        {
            "request_id": [f"r{answer:06}" for answer in of_rows],
            "shown_at": answers.shown_at[answers.answer_of],
            "kind": [answers.kinds[answer] for answer in of_rows],
            "user_id": pa.array([answers.user_ids[answer] for answer in of_rows], pa.string()),
            "product_id": list(answers.product_ids),
            "rank": answers.ranks,
            "category": pa.array(answers.categories, pa.string()),
            **{name: pa.array(answers.features[name], from_pandas=True) for name in FEATURES},
            "clicked": answers.clicked,
        },
        schema=pa.schema(COLUMNS.items()),
    )

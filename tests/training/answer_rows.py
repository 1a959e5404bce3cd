"""Answers and what followed them, as the database keeps them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import asyncpg

from evaluation.logged_answers import LoggedAnswers
from ranking.config import FEATURES


def log_answers(database_url: str, answers: LoggedAnswers) -> None:
    """Write products, impressions and clicks of *answers*; clicks follow ten seconds after."""
    asyncio.run(_log(database_url, answers))


async def _log(database_url: str, answers: LoggedAnswers) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        products = [
            (product_id, category) for product_id, category in zip(answers.product_ids, answers.categories, strict=True)
        ]
        await connection.execute("select ensure_event_partitions($1, $2)", _time(answers, 0), _time(answers, -1))
        await connection.copy_records_to_table(
            "products",
            records=[(each, each, category) for each, category in products],
            columns=["id", "title", "category"],
        )
        impressions, events = [], []
        for answer in range(len(answers)):
            rows = range(answers.starts[answer], answers.starts[answer + 1])
            shown = [answers.product_ids[row] for row in rows]
            features = [{name: _value(answers.features[name][row]) for name in FEATURES} for row in rows]
            user, at = answers.user_ids[answer], _time(answers, answer)
            ranks = [int(answers.ranks[row]) for row in rows]
            impressions.append(
                (f"r{answer}", at, answers.kinds[answer], user, shown, ranks, [0.5] * len(shown), json.dumps(features))
            )
            events += [
                (f"e{answer}-{row}", user or "somebody", answers.product_ids[row], "click", at, f"r{answer}")
                for row in rows
                if answers.clicked[row]
            ]
        await connection.copy_records_to_table(
            "impressions",
            records=impressions,
            columns=["request_id", "shown_at", "kind", "user_id", "product_ids", "ranks", "scores", "features"],
        )
        await connection.copy_records_to_table(
            "events",
            records=events,
            columns=["id", "user_id", "product_id", "type", "occurred_at", "request_id"],
        )
    finally:
        await connection.close()


def _time(answers: LoggedAnswers, answer: int) -> datetime:
    return datetime.fromtimestamp(float(answers.shown_at[answer]), UTC)


def _value(value: float) -> float | None:
    return None if value != value else float(value)  # noqa: PLR0124  only NaN differs from itself

"""The snapshot job as its command runs it, in this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from training import snapshot
from training.snapshot_reading import Snapshot, open_snapshot

MANY = """
insert into products (id, title, category, price)
select 'p' || n, 'product ' || n, 'c' || n % 3, 1 + n % 7 from generate_series(1, 60) as n
"""
EVENTS = """
insert into events (id, user_id, product_id, type, value, occurred_at)
select
    'e' || n, 'u' || (n * 7 % 23), case when n % 11 = 0 then 'gone' else 'p' || 1 + ((n * 37 + n / 7) % 60) end,
    (array['view', 'click', 'add_to_cart', 'purchase', 'rating'])[1 + n % 5],
    case when n % 5 = 4 and n % 15 <> 4 then n % 8 - 1 end,
    timestamptz '2026-03-01 12:00:00.123456+00' - interval '7 hours' * (n / 3)
from generate_series(1, 3000) as n
"""
USERS = "insert into users (id, event_count) select user_id, count(*) from events group by user_id"


def taken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    """The last line of a run that ends well."""
    monkeypatch.setattr(sys, "argv", ["snapshot", *flags])
    snapshot.main()
    last: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return last


def newest(root: Path | str) -> Snapshot:
    return open_snapshot(str(root), "latest")

"""
The quality of search through the API, in one table: ``python -m evaluation.search``.

Each data set is imported into a stack of its own, embedded, and asked over ``/v1/search`` in every mode: by words, by
meaning, by both. With ``--url`` one data set is imported into a running stack that holds nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evaluation.search_data import SEARCH_SETS, SearchSet
from evaluation.search_report import SearchComparison, as_text, compared, write
from evaluation.shop import Shop, own_stack, shortlist

MODES = {"keyword": "by words", "semantic": "by meaning", "hybrid": "by both"}
OURS = MODES["hybrid"]


def compare(search_set: SearchSet, shop: Shop) -> SearchComparison:
    """Ask every query in every mode, of a shop that holds the data set and nothing else."""
    lists = {}
    for mode, words in MODES.items():
        began = time.monotonic()
        lists[words] = {query_id: shop.ranked(query, mode) for query_id, query in search_set.queries.items()}
        print(f"    {words}: {len(search_set.queries)} queries in {time.monotonic() - began:.0f} s", flush=True)
    return compared(search_set, lists, of_ours=OURS)


@contextmanager
def filled(search_set: SearchSet, url: str | None) -> Iterator[Shop]:
    """A shop that holds the data set, ready to be asked: at *url*, or on a stack of its own."""
    if url is not None:
        with Shop(url) as shop:
            before = shop.versions()["vocabulary"]
            changed = shop.put(search_set.products)
            shop.wait_until_searchable(vocabulary_after=before if changed else None)
            yield shop
        return
    with own_stack() as (address, state_dir), Shop(address) as shop:
        shop.put(search_set.products)
        shortlist(state_dir, "maintain", "--task=vocabulary", "--task=head-tier")
        shortlist(state_dir, "train", "embeddings")
        shop.wait_until_searchable()
        yield shop


def main() -> None:
    """Measure, print and write the report; exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.search", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="DATA SET", help=f"of {', '.join(SEARCH_SETS)}; all by default")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="where the report is written")
    parser.add_argument("--url", help="of a running stack, with an encoder trained, for one data set")
    flags = parser.parse_args()
    names = flags.names or list(SEARCH_SETS)
    if unknown := set(names) - set(SEARCH_SETS):
        parser.error(f"no data set is called {', '.join(sorted(unknown))}")
    if flags.url and len(names) > 1:
        parser.error("a stack holds one data set: name it")
    if not flags.data.is_dir():
        sys.exit(f"{flags.data} is not there: the data sets are not part of the project; say where with --data.")
    comparisons = []
    for name in names:
        print(f"{name}:", flush=True)
        search_set = SEARCH_SETS[name](flags.data)
        with filled(search_set, flags.url) as shop:
            comparisons.append(compare(search_set, shop))
    print(f"\n{as_text(comparisons)}\n")
    for path in write(comparisons, flags.out, "search"):
        print(path)
    sys.exit(int(any(comparison.missed() for comparison in comparisons)))


if __name__ == "__main__":
    main()

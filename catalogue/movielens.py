"""
MovieLens-100K, as the example catalogue: films, the people who rated them, their ratings.

Read from the RecBole wheel, where it lies in the zip file; the wheel is fetched and never installed. The data hold no
description of a film, so none is made up. The users' zip codes are left out.

Source:
    Harper, Konstan, "The MovieLens Datasets: History and Context", 2015. https://grouplens.org/datasets/movielens/
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from catalogue.errors import DownloadFailed, ImportRefused
from catalogue.readers import Row

REQUIREMENT = "recbole==1.2.1"
WHEEL = "recbole-1.2.1-py3-none-any.whl"
_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
_YEAR_AFTER_TITLE = re.compile(r"\s*\((\d{4})\)\s*$", re.ASCII)
_YEAR = re.compile(r"\d{4}", re.ASCII)
_NO_GENRE = "unknown"

# What has no release year is never taken for new.
_UNKNOWN_CREATION = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class MovieLens:
    """
    The data set in *wheel*; each method reads anew.

    Args:
        wheel: The RecBole wheel, as `fetch_movielens` gives it.
    """

    wheel: Path

    def products(self) -> Iterator[Row]:
        """Films: ids as in the file, the first genre as category, all genres and the release year as attributes."""
        for line, (film_id, title, year, genres) in self._records("item", 4):
            yield Row(line, _film(film_id, title, year, [genre for genre in genres.split() if genre != _NO_GENRE]))

    def users(self) -> Iterator[Row]:
        """People, with age, gender and occupation."""
        for line, (user_id, age, gender, occupation, _zip_code) in self._records("user", 5):
            yield Row(
                line, {"id": user_id, "attributes": {"age": int(age), "gender": gender, "occupation": occupation}}
            )

    def events(self) -> Iterator[Row]:
        """Ratings from 1 to 5, in the order of the file."""
        for line, (user_id, film_id, rating, timestamp) in self._records("inter", 4):
            yield Row(
                line,
                {
                    "user_id": user_id,
                    "product_id": film_id,
                    "type": "rating",
                    "value": float(rating),
                    "timestamp": datetime.fromtimestamp(int(timestamp), UTC),
                },
            )

    def _records(self, suffix: str, columns: int) -> Iterator[tuple[int, list[str]]]:
        """Line number and columns of one of the tab-separated files, its header apart."""
        try:
            with zipfile.ZipFile(self.wheel) as archive, archive.open(f"{_FOLDER}.{suffix}") as file:
                for line, text in enumerate(file, start=1):
                    record = text.decode().rstrip("\r\n").split("\t")
                    if line > 1 and len(record) == columns:
                        yield line, record
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ImportRefused(f"{self.wheel}: not the wheel of {REQUIREMENT} ({error}); fetch it again") from error


def movielens(wheel: Path) -> MovieLens:
    """
    Return the data set in *wheel*.

    Raises:
        ImportRefused: when it is read, if the wheel is not the one expected.
    """
    return MovieLens(wheel)


def fetch_movielens(directory: Path, *, timeout_s: float = 300.0) -> Path:
    """
    Return the RecBole wheel in *directory*, fetched with pip unless it is there.

    Raises:
        DownloadFailed: pip could not fetch it; the message holds what pip said.
    """
    wheel = directory / WHEEL
    if zipfile.is_zipfile(wheel):
        return wheel
    directory.mkdir(parents=True, exist_ok=True)
    wheel.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory), REQUIREMENT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)  # noqa: S603 - fixed words
    except subprocess.TimeoutExpired as error:
        raise DownloadFailed(f"fetching {REQUIREMENT} took longer than {timeout_s:.0f} s") from error
    if done.returncode or not wheel.exists():
        raise DownloadFailed(f"cannot fetch {REQUIREMENT}:\n{done.stderr.strip()}")
    return wheel


def _film(film_id: str, title: str, year: str, genres: list[str]) -> dict[str, object]:
    suffix = _YEAR_AFTER_TITLE.search(title)
    title = _YEAR_AFTER_TITLE.sub("", title).strip()
    if suffix and not _YEAR.fullmatch(year):
        year = suffix[1]
    attributes: dict[str, object] = {"genres": genres} if genres else {}
    created_at = _UNKNOWN_CREATION
    if _YEAR.fullmatch(year):
        attributes["release_year"] = int(year)
        created_at = datetime(int(year), 1, 1, tzinfo=UTC)
    film: dict[str, object] = {"id": film_id, "title": title, "created_at": created_at, "attributes": attributes}
    return film | {"category": genres[0]} if genres else film

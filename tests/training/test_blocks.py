from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.training.made_up import tastes
from training.blocks import block_matrix, row_blocks, row_bounds


class TestRowBlocks:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 9))
    def test_the_blocks_are_the_matrix(self, seed: int, rows: int, blocks: int) -> None:
        matrix = sparse.random(rows, 7, 0.3, format="csr", dtype=np.float32, random_state=np.random.default_rng(seed))
        bounds = row_bounds(matrix, blocks)
        parts = [block_matrix(arrays, 7) for arrays in row_blocks(matrix, bounds)]
        assert (bounds[0], bounds[-1], len(parts)) == (0, rows, blocks)
        assert (sparse.vstack(parts) != matrix).nnz == 0

    @pytest.mark.parametrize("blocks", [2, 4, 8])
    def test_each_has_about_its_share_of_the_entries(self, blocks: int) -> None:
        matrix = tastes(5000, 800, 20)
        for side in (matrix, matrix.T.tocsr()):
            entries = [len(arrays[1]) for arrays in row_blocks(side, row_bounds(side, blocks))]
            assert max(entries) < 2 * side.nnz / blocks


class TestBlockMatrix:
    def test_it_can_be_written_to_and_leaves_its_source_alone(self) -> None:
        matrix = tastes(20, 16, 4)
        (arrays,) = row_blocks(matrix, [0, 20])
        for array in arrays:
            array.flags.writeable = False
        block = block_matrix(arrays, 16)
        block.data *= 2
        assert matrix.data.max() == 1

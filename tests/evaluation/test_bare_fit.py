from __future__ import annotations

import numpy as np
from scipy import sparse

from evaluation.bare_fit import bare_fit
from evaluation.peak_memory import PeakMemory


class TestBareFit:
    def test_it_says_what_a_fit_takes(self) -> None:
        matrix = sparse.random(300, 200, 0.05, format="csr", dtype=np.float32, random_state=1)
        matrix.data[:] = 1
        settings = {"factors": 8, "alpha": 2.0, "regularization": 1.0, "iterations": 2, "seed": 7}
        found = bare_fit(matrix, settings, threads=1)
        assert found["seconds"] > 0
        assert found["bytes_at_peak"] >= found["bytes_before"] > 0


class TestPeakMemory:
    def test_what_was_given_back_counts_too(self) -> None:
        with PeakMemory() as memory:
            held = np.ones(30_000_000)
            held += 1
            del held
        assert memory.peak - memory.before > 200_000_000

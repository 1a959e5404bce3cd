"""
What implicit alone costs: one fit in a process that does nothing else.

``python -m evaluation.bare_fit matrix.npz '{"factors": 64, ...}' 2`` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from evaluation.metrics import SparseMatrix

_ROOT = Path(__file__).resolve().parents[1]
_WORKER_NICENESS = 15
MOST_TIMES_BARE = 1.15
"""What the job's fit may cost at most, in units of what this one does."""


def bare_fit(matrix: SparseMatrix, parameters: dict[str, Any], *, threads: int) -> dict[str, float]:
    """
    Fit *matrix* in a process of its own.

    Args:
        matrix: CSR matrix (users, items), float32.
        parameters: Fields of the job's settings.
        threads: Of the fit.

    Returns:
        ``seconds`` of ``AlternatingLeastSquares.fit`` and, of processor time, ``cpu_seconds``; ``bytes_before`` that
        the process held before it read the matrix, and ``bytes_at_peak``.
    """
    from scipy import sparse  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "matrix.npz"
        sparse.save_npz(path, matrix, compressed=False)
        found = subprocess.run(  # noqa: S603  ourselves
            [sys.executable, "-m", "evaluation.bare_fit", str(path), json.dumps(parameters), str(threads)],
            cwd=_ROOT,
            # As implicit asks for: its threads solve rows, and each calls BLAS.
            env=os.environ | {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    result: dict[str, float] = json.loads(found.stdout)
    return result


def main() -> None:
    """Fit, and print what it took."""
    from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415  a parent that only calls bare_fit needs none
    from scipy import sparse  # noqa: PLC0415

    from evaluation.peak_memory import PeakMemory  # noqa: PLC0415

    path, parameters, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    # As Ray's workers run, or whatever else the machine does would count for one of the two only.
    os.nice(max(0, _WORKER_NICENESS - os.nice(0)))
    with PeakMemory() as memory:
        matrix = sparse.load_npz(path)
        model = AlternatingLeastSquares(
            factors=parameters["factors"],
            alpha=parameters["alpha"],
            regularization=parameters["regularization"],
            iterations=parameters["iterations"],
            random_state=parameters["seed"],
            num_threads=threads,
        )
        began, began_cpu = time.monotonic(), time.process_time()
        model.fit(matrix, show_progress=False)
        seconds, cpu_seconds = time.monotonic() - began, time.process_time() - began_cpu
    said = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "bytes_before": memory.before,
        "bytes_at_peak": memory.peak,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()

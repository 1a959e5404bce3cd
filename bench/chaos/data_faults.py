"""Faults of what is on disk and in the servers: artifacts, replay, a full disk, a cache that missed something."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx

from bench.chaos.fault import CannotBeDone, Inject
from bench.chaos.processes import frozen, kill
from bench.chaos.subject import Subject
from cluster.child import wait_until
from cluster.state_directory import project_root

ROOM_BYTES = 1_000_000
TRAIN_TIMEOUT_S = 300.0
LAPSED_S = 8.0


def corrupted(kind: str, file: str, *, restarting: Sequence[str]) -> Inject:
    """
    One bit of a file flipped in every version, and every replica that holds one started anew: none can step in.

    A version that is trained meanwhile is sound, and is taken up.
    """

    @contextlib.contextmanager
    def inject(subject: Subject) -> Iterator[None]:
        paths = sorted((subject.state.artifacts / kind).glob(f"2*/{file}"))
        if not paths:
            raise CannotBeDone(f"No version of {kind} has a {file}")
        contents = {path: path.read_bytes() for path in paths}
        pids = [pid for name in restarting for pid in subject.replicas(name)]
        try:
            for path in paths:
                _flip(path)
            subject.strike()
            kill(pids)
            yield
        finally:
            for path, content in contents.items():
                if path.exists():
                    _replace(path, content)

    return inject


def corrupt_version_activated(kind: str, file: str) -> Inject:
    """``ACTIVE`` names a new version with a flipped bit, past the gate; undone by naming the one before."""

    @contextlib.contextmanager
    def inject(subject: Subject) -> Iterator[None]:
        sound = _active(subject, kind)
        bad = sound.with_name(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-c0ffee")
        active = sound.parent / "ACTIVE"
        before = active.read_bytes()
        shutil.copytree(sound, bad)
        try:
            manifest = bad / "manifest.json"
            manifest.write_text(manifest.read_text().replace(sound.name, bad.name))
            _flip(bad / file)
            subject.strike()
            _replace(active, bad.name.encode() + b"\n")
            yield
        finally:
            if active.read_bytes().strip() == bad.name.encode():
                _replace(active, before)
            shutil.rmtree(bad, ignore_errors=True)

    return inject


@contextlib.contextmanager
def replay_paused(subject: Subject) -> Iterator[None]:
    """The read replica receives changes and shows none of them."""
    subject.strike()
    subject.query_replica("select pg_wal_replay_pause()")
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            subject.query_replica("select pg_wal_replay_resume()")


@contextlib.contextmanager
def artifact_disk_full(subject: Subject) -> Iterator[None]:
    """
    A small disk mounted over the artifacts, with all of them on it and no room for more; a training job is run there.

    The job must fail, say so, and leave the active version as it was; nothing half-written may be visible.
    """
    with _small_disk_over(subject.state.artifacts) as fill:
        active = _active(subject, "popularity")
        before = _versions(active.parent)
        fill()
        subject.strike()
        done = _shortlist(subject, "train", "popularity")
        if done.returncode == 0:
            subject.complain("training succeeded on a full disk")
        elif "space" not in (done.stdout + done.stderr).lower():
            subject.complain(f"training does not say what is wrong: {done.stderr[-200:]!r}")
        if _active(subject, "popularity") != active:
            subject.complain("the active version changed")
        if added := _versions(active.parent) - before:
            subject.complain(f"half a version is visible: {sorted(added)}")
        yield


@contextlib.contextmanager
def cache_missed_a_deletion(subject: Subject) -> Iterator[None]:
    """The cache hangs while a product is deleted, and comes back with everything it held before."""
    word = f"zanzibar{os.getpid()}x{int(time.time())}"
    product = f"chaos-{word}"

    def found() -> bool:
        answer = client.get("/v1/search", params={"q": word, "timeout_ms": "5000"})
        return answer.status_code == 200 and product in {hit["id"] for hit in answer.json()["hits"]}  # noqa: PLR2004

    with httpx.Client(base_url=subject.url, timeout=20.0, trust_env=False) as client:
        client.put(f"/v1/products/{product}", json={"title": f"The {word} film"}).raise_for_status()
        if not wait_until(found, timeout_s=20.0):
            raise CannotBeDone("The product that was written was not found")
        found()
        with frozen([subject.part("valkey")]):
            subject.strike()
            time.sleep(LAPSED_S)
            client.delete(f"/v1/products/{product}").raise_for_status()
        try:
            yield
        finally:
            if any(found() for _ in range(10)):
                subject.complain("a product that was deleted while the cache hung is shown again")


def _active(subject: Subject, kind: str) -> Path:
    directory = subject.state.artifacts / kind
    return directory / (directory / "ACTIVE").read_text().strip()


def _versions(directory: Path) -> set[str]:
    return {path.parent.name for path in directory.glob("*/manifest.json")}


def _flip(path: Path) -> None:
    """Flip one bit in the middle of the file."""
    with path.open("r+b") as file:
        middle = path.stat().st_size // 2
        file.seek(middle)
        (byte,) = file.read(1)
        file.seek(middle)
        file.write(bytes([byte ^ 0x10]))


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(".chaos")
    partial.write_bytes(content)
    partial.replace(path)


@contextlib.contextmanager
def _small_disk_over(directory: Path) -> Iterator[Callable[[], None]]:
    """Lend a function that fills the disk which holds *directory*'s files while the block runs."""
    if os.geteuid() != 0:
        raise CannotBeDone("A small disk can be mounted by root alone")
    used = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as kept:
        copy = Path(kept) / "artifacts"
        shutil.copytree(directory, copy, symlinks=True)
        size = used + used // 20 + ROOM_BYTES
        mounted = _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory))
        if mounted.returncode != 0:
            raise CannotBeDone(f"A small disk cannot be mounted here: {mounted.stderr.strip()}")
        try:
            shutil.copytree(copy, directory, symlinks=True, dirs_exist_ok=True)
            yield lambda: _fill(directory / ".ballast")
        finally:
            _run("umount", "-l", str(directory))


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass


def _shortlist(subject: Subject, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cluster.cli", *arguments, "--state-dir", str(subject.state.root)]
    return _run(*command, timeout_s=TRAIN_TIMEOUT_S)


def _run(*command: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - fixed commands
        command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=project_root()
    )

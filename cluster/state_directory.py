"""
The one directory that holds everything a local stack keeps.

::

    supervisor.json    what runs: processes, ports, sockets, URLs
    lock               held while a stack runs
    token              Ray's authentication token
    postgres/          data directories of the two servers, server-5432 and server-5433
    roles.json         which of them is the primary, once there was a promotion
    promotion.json     there while a promotion is asked for and has not begun
    artifacts/         what training publishes
    artifact-cache/    fetched copies of remote artifacts
    downloads/         data sets as they were downloaded
    loading            there while the demo's data are being loaded
    logs/              one file a process
    run/               sockets and Ray's session directories, reached as /tmp/shortlist-<hash>
    serve_config.json  what was deployed last
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.account import Account, database_account
from cluster.errors import StateUnusable

VARIABLE = "SHORTLIST_STATE_DIR"
FALLBACK = Path("/var/lib/shortlist")
NEEDED_BYTES = 500_000_000
# A Unix socket's path has at most 107 bytes, and Ray's and HAProxy's need up to 80 of them.
ALIASES = Path("/tmp")  # noqa: S108


@dataclass(frozen=True)
class StateDirectory:
    """Paths below *root*, which is absolute."""

    root: Path

    @property
    def alias(self) -> Path:
        """The short path of ``run/``: a symbolic link of ours in /tmp."""
        return ALIASES / f"shortlist-{hashlib.sha256(str(self.root).encode()).hexdigest()[:12]}"

    @property
    def run(self) -> Path:
        """Sockets and Ray's sessions; always spoken of as `alias`."""
        return self.root / "run"

    @property
    def sockets(self) -> Path:
        """Directory of the Postgres sockets, by its short path."""
        return self.alias / "postgres"

    @property
    def python(self) -> Path:
        """This interpreter in its environment, by a path without blanks; made by `prepare`."""
        return self.alias / "venv" / "bin" / Path(sys.executable).name

    @property
    def postgres(self) -> Path:
        """Directory of the Postgres data directories."""
        return self.root / "postgres"

    @property
    def roles(self) -> Path:
        """Which Postgres server is the primary."""
        return self.root / "roles.json"

    @property
    def promotion(self) -> Path:
        """A promotion that was asked for."""
        return self.root / "promotion.json"

    @property
    def programs(self) -> Path:
        """Where copies of the Postgres programs go when they cannot run in place."""
        return self.root / "postgres-programs"

    @property
    def artifacts(self) -> Path:
        """What training publishes."""
        return self.root / "artifacts"

    @property
    def artifact_cache(self) -> Path:
        """Fetched copies of remote artifacts."""
        return self.root / "artifact-cache"

    @property
    def loading(self) -> Path:
        """There while the demo's data are being loaded."""
        return self.root / "loading"

    @property
    def downloads(self) -> Path:
        """Data sets as they were downloaded."""
        return self.root / "downloads"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.root / "logs"

    @property
    def token(self) -> Path:
        """Ray's authentication token."""
        return self.root / "token"

    @property
    def record(self) -> Path:
        """What runs."""
        return self.root / "supervisor.json"

    @property
    def serve_config(self) -> Path:
        """What was deployed last."""
        return self.root / "serve_config.json"

    @property
    def lock(self) -> Path:
        """Held while a stack runs."""
        return self.root / "lock"

    def in_use(self) -> bool:
        """Return whether a stack holds the directory now."""
        try:
            with self.lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError:
            raise StateUnusable(
                f"{self.root} belongs to another user. Choose another directory with --state-dir or {VARIABLE}."
            ) from None
        except BlockingIOError:
            return True
        return False

    def prepare(self) -> None:
        """
        Create what is missing, with the modes that keep other users out.

        Raises:
            StateUnusable: it cannot be created, the database account cannot reach it, or the disk is full.
        """
        account = database_account()
        private = 0o700 if account is None else 0o711
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(private)
            for directory in (self.run, self.postgres):
                directory.mkdir(exist_ok=True)
                directory.chmod(private)
            for directory in (self.artifacts, self.artifact_cache, self.downloads, self.logs):
                directory.mkdir(mode=0o700, exist_ok=True)
            sockets = self.run / self.sockets.name
            sockets.mkdir(mode=0o700, exist_ok=True)
            if account is not None:
                for owned in (sockets, self.postgres):
                    os.chown(owned, account.uid, account.gid)
            free = shutil.disk_usage(self.root).free
        except OSError as error:
            raise StateUnusable(
                f"The state directory {self.root} cannot be used: {error.strerror} ({error.filename}). "
                f"Choose another with --state-dir or {VARIABLE}."
            ) from error
        check_reachable(self.root, account)
        if free < NEEDED_BYTES:
            raise StateUnusable(
                f"The disk of {self.root} has {free // 1_000_000} MB left and a stack needs "
                f"{NEEDED_BYTES // 1_000_000}. Free some space, or choose another disk with --state-dir."
            )
        self._link()
        environment = self.run / "venv"
        environment.unlink(missing_ok=True)
        environment.symlink_to(sys.prefix)

    def _link(self) -> None:
        """Make `alias` lead to `run`, and refuse one that somebody else made."""
        try:
            self.alias.symlink_to(self.run)
        except FileExistsError:
            if not self.alias.is_symlink() or self.alias.lstat().st_uid != os.geteuid():
                raise StateUnusable(
                    f"{self.alias} exists and is not ours. It may be an attempt to read the sockets of this stack: "
                    f"remove it, or choose another directory with --state-dir."
                ) from None
            if self.alias.readlink() != self.run:
                self.alias.unlink()
                self.alias.symlink_to(self.run)
        except OSError as error:
            raise StateUnusable(f"{self.alias} cannot be created: {error.strerror}. The stack needs it.") from error

    def unlink(self) -> None:
        """Remove `alias` if it is ours."""
        if self.alias.is_symlink() and self.alias.lstat().st_uid == os.geteuid() and self.alias.readlink() == self.run:
            self.alias.unlink()


def check_reachable(root: Path, account: Account | None) -> None:
    """
    Return if Postgres can reach *root*.

    Raises:
        StateUnusable: a directory on the way is closed to the account that Postgres runs as.
    """
    obstacle = None if account is None else account.obstacle_to(root)
    if obstacle is not None:
        raise StateUnusable(
            f"Postgres does not run as root, and the user it runs as cannot enter {obstacle}. "
            f"Choose a state directory elsewhere with --state-dir or {VARIABLE}, "
            f"or let others pass: chmod o+x {obstacle}"
        )


def project_root() -> Path:
    """Return the directory that holds this project's code."""
    return Path(__file__).resolve().parents[1]


def locate(option: Path | None, environ: Mapping[str, str] = os.environ) -> tuple[StateDirectory, str | None]:
    """
    Return the state directory of this call, and what to tell the user about the choice.

    The option comes first, then ``SHORTLIST_STATE_DIR``, then ``.shortlist`` in the checkout (in the working
    directory when the project is installed as a package). As root, with a checkout that only root can enter, the
    default is a directory of its own in /var/lib/shortlist.
    """
    chosen = option or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if chosen is not None:
        return StateDirectory(chosen.expanduser().resolve()), None
    home = project_root()
    if not (home / "pyproject.toml").exists():
        home = Path.cwd()
    account = database_account()
    if account is None or account.can_traverse(home):
        return StateDirectory(home / ".shortlist"), None
    name = f"{home.name}-{hashlib.sha256(str(home).encode()).hexdigest()[:8]}"
    root = FALLBACK / name
    return StateDirectory(root), f"{home} is closed to other users, Postgres included: the state goes to {root}"

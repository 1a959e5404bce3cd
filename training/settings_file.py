"""Flags from a YAML file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names the file."""
    parser.add_argument("--config", help="YAML file of flags without their dashes; flags given here win over it")


def parsed(
    parser: argparse.ArgumentParser, sections: Sequence[str] = (), arguments: Sequence[str] | None = None
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """
    Return the flags of the command line and of the file it names, and the *sections* of the file that are no flags.

    The file's values go through the same checks as the flags. ``name: false`` gives the flag ``--no-name``,
    ``name: true`` the flag ``--name``, ``null`` none.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config")
    path = finder.parse_known_args(given)[0].config
    if path is None:
        return parser.parse_args(given), {}
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        parser.error(f"{path} cannot be read: {error}")
    if not isinstance(content, dict):
        parser.error(f"{path} must hold names and values")
    rest = {name: content.pop(name) for name in sections if name in content}
    flags = [flag for name, value in content.items() for flag in _flag(str(name).replace("_", "-"), value)]
    return parser.parse_args([*flags, *given]), rest


def _flag(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}={value}"]

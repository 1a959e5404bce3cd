"""A job's flags from a YAML file; what the command line says counts more."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

_ABOUT_FLAGS = {"help", "config", "check_flags"}


def parsed_flags(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None, *, sections: Sequence[str] = ()
) -> argparse.Namespace:
    """
    Return the flags of *parser*, to which ``--config``, a YAML file of flags by name, and ``--check-flags`` are added.

    A file says ``least_recall: 0.97`` for ``--least-recall 0.97`` and ``activate: false`` for ``--no-activate``; what
    is ``null`` is not said. What is wrong with it ends the process like a wrong flag.
    Flags have to be written out: of an abbreviated ``--config`` the file would not be read.

    Args:
        parser: Knows the flags.
        arguments: Of the command line; None: those of the process.
        sections: Names in the file that are no flags. What stands there becomes an attribute, None where nothing does.
    """
    parser.allow_abbrev = False
    parser.add_argument("--config", type=Path, help="YAML file of flags by name; the command line counts more")
    parser.add_argument("--check-flags", action="store_true", help="say what is wrong with the flags, and do nothing")
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=Path)
    given, _ = finder.parse_known_args(arguments)
    parser.set_defaults(**dict.fromkeys(sections))
    if given.config is not None:
        _take(parser, given.config, sections)
    flags = parser.parse_args(arguments)
    if flags.check_flags:
        parser.exit()
    return flags


def _take(parser: argparse.ArgumentParser, path: Path, sections: Sequence[str]) -> None:
    """Make what the file at *path* says the defaults of *parser*."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        parser.error(f"--config: {path} cannot be read: {error}")
    if content is None:
        return
    if not isinstance(content, dict):
        parser.error(f"--config: {path} does not hold flags by name")
    known = _by_name(parser)
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name in sections:
            parser.set_defaults(**{name: value})
            continue
        if value is None:
            continue
        if name not in known:
            parser.error(
                f"--config: {path}: there is no flag {key}; known are {', '.join(sorted({*known, *sections}))}"
            )
        parser.set_defaults(**{known[name].dest: _value(parser, known[name], value, f"--config: {path}: {key}")})
        known[name].required = False


def _by_name(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Each flag by the name that it has in a file: its own, but that of ``--no-activate`` is ``activate``."""
    found = {}
    for action in parser._actions:  # noqa: SLF001
        if action.dest not in _ABOUT_FLAGS:
            own = action.option_strings[-1].lstrip("-").replace("-", "_")
            found[action.dest if action.nargs == 0 else own] = action
    return found


def _value(parser: argparse.ArgumentParser, action: argparse.Action, value: object, where: str) -> Any:  # noqa: ANN401
    if action.nargs == 0:
        if not isinstance(value, bool):
            parser.error(f"{where} is {value!r}, not true or false")
        return value
    if isinstance(action, argparse._AppendAction):  # noqa: SLF001  it has no public name
        return [_text(parser, action, each, where) for each in (value if isinstance(value, list) else [value])]
    return _text(parser, action, value, where)


def _text(parser: argparse.ArgumentParser, action: argparse.Action, value: object, where: str) -> str:
    """A text or a number as text, which argparse converts; it does not look whether that is among the choices."""
    if isinstance(value, bool | list | dict):
        parser.error(f"{where} is {value!r}, not a text or a number")
    if action.choices is not None and str(value) not in map(str, action.choices):
        parser.error(f"{where} is {value!r}, not one of {', '.join(map(str, action.choices))}")
    return str(value)

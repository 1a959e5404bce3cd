"""The ranking configuration in a file of Serve's, or in one of its own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ranking.config import RankingConfig
from training.errors import WrongInput

DEFAULT_SERVE_FILE = Path(__file__).parents[1] / "configs" / "serve_config.yaml"


def read_document(path: Path) -> dict[str, Any]:
    """
    Return the YAML or JSON object at *path*.

    Raises:
        WrongInput: it cannot be read, or is none.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WrongInput(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise WrongInput(f"{path} does not hold settings by name")
    return document


def ranking_config(path: Path) -> RankingConfig:
    """
    Return the ranking configuration at *path*: a Serve file's ``user_config`` of ranking, or a file of just that.

    Raises:
        WrongInput: it cannot be read, has no deployment ``ranking``, or names what ranking does not know.
    """
    document = read_document(path)
    if "applications" in document:
        document = _ranking(document, path).get("user_config") or {}
    try:
        return RankingConfig.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise WrongInput(f"{path} is no ranking configuration: {problems}") from error


def user_config(config: RankingConfig) -> dict[str, Any]:
    """*config* as ``user_config`` of the deployment ``ranking``; what is as by default and says nothing is left out."""
    document: dict[str, Any] = {"weights": config.weights.model_dump()}
    if config.category_weights:
        document["category_weights"] = {
            name: config.category_weights[name].model_dump() for name in sorted(config.category_weights)
        }
    document["freshness_half_life_days"] = config.freshness_half_life_days
    if config.hidden_ids:
        document["hidden_ids"] = sorted(config.hidden_ids)
    return document


def serve_file_with(path: Path, config: RankingConfig) -> str:
    """
    Return the Serve file at *path* with *config* in place of its ranking configuration; comments are lost.

    Raises:
        WrongInput: as `ranking_config`.
    """
    document = copy.deepcopy(read_document(path))
    if "applications" not in document:
        return as_yaml(user_config(config))
    _ranking(document, path)["user_config"] = user_config(config)
    return as_yaml(document)


def as_yaml(document: dict[str, Any]) -> str:
    """*document* as YAML, in its own order, without references from one part to another."""
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  as PyYAML calls it
        return True


def _ranking(document: dict[str, Any], path: Path) -> dict[str, Any]:
    applications = document["applications"]
    for application in applications if isinstance(applications, list) else []:
        for deployment in (application or {}).get("deployments") or []:
            if isinstance(deployment, dict) and deployment.get("name") == "ranking":
                return deployment
    raise WrongInput(f"{path} has applications, but none with a deployment named ranking")

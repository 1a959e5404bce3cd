"""A Serve application brought up from its configuration file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from cluster.errors import DeployFailed, UsageError
from cluster.ray_api import RayApi
from cluster.state_directory import project_root

DEFAULT_CONFIG = project_root() / "configs" / "serve_local.yaml"
POLL_S = 0.5
SETTLED_S = 10.0


def read_config(path: Path) -> dict[str, Any]:
    """
    Return the configuration in *path*, checked against Serve's own schema.

    Raises:
        UsageError: the file cannot be read or is not a Serve configuration; the message names the field.
    """
    # A second of imports that the other commands need not wait for.
    from pydantic import ValidationError  # noqa: PLC0415
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415

    try:
        config = yaml.safe_load(path.read_text())
        ServeDeploySchema.model_validate(config)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise UsageError(f"{path} is not a Serve configuration: {problems}") from error
    assert isinstance(config, dict)
    if not config.get("applications"):
        raise UsageError(f"{path} names no application; deploying it would take down what runs. See configs/")
    return config


def listening_at(config: Mapping[str, Any], host: str, port: int) -> dict[str, Any]:
    """Return *config* with its HTTP address replaced."""
    return {**config, "http_options": {**(config.get("http_options") or {}), "host": host, "port": port}}


def spread(config: Mapping[str, Any], *, nodes: int) -> dict[str, Any]:
    """
    Return *config* with the replicas of each deployment spread evenly over *nodes*, unless it says otherwise itself.

    A deployment whose number of replicas is not fixed is left as it is.
    """
    return {**config, "applications": [_spread(each, nodes) for each in config["applications"]]}


def _spread(application: Mapping[str, Any], nodes: int) -> dict[str, Any]:
    deployments = [
        {"max_replicas_per_node": math.ceil(each["num_replicas"] / nodes), **each}
        if nodes > 1 and isinstance(each.get("num_replicas"), int)
        else each
        for each in application.get("deployments", [])
    ]
    return {**application, "deployments": deployments} if deployments else dict(application)


def deploy(api: RayApi, config: Mapping[str, Any], *, timeout_s: float, follow: Callable[[str], None]) -> None:
    """
    Give *config* to Serve and return once every application of it runs.

    Args:
        api: The serving cluster.
        config: A Serve configuration.
        timeout_s: Most seconds to wait.
        follow: Called with a line about how far it is.

    Raises:
        DeployFailed: Serve gave up, or did not finish in time; the message is Serve's.
    """
    names = [application["name"] for application in config["applications"]]
    before = {name: each.get("last_deployed_time_s") for name, each in _applications(api).items()}
    api.deploy(config)
    began = time.monotonic()
    while True:
        applications = _applications(api)
        elapsed = time.monotonic() - began
        fresh = {
            name: applications[name]
            for name in names
            if name in applications
            and (applications[name].get("last_deployed_time_s") != before.get(name) or elapsed > SETTLED_S)
        }
        failed = {name: each for name, each in fresh.items() if each["status"] == "DEPLOY_FAILED"}
        if failed:
            raise DeployFailed("\n".join(_reason(name, each) for name, each in failed.items()))
        if len(fresh) == len(names) and all(each["status"] == "RUNNING" for each in fresh.values()):
            return
        if elapsed > timeout_s:
            reasons = [_reason(name, each) for name, each in applications.items() if each["status"] != "RUNNING"]
            raise DeployFailed(f"Not running after {timeout_s:.0f} s. " + "\n".join(reasons))
        follow(_summary(fresh))
        time.sleep(POLL_S)


def wait_http(url: str, *, path: str, timeout_s: float, follow: Callable[[str], None]) -> None:
    """
    Return once ``GET url+path`` succeeds.

    Raises:
        DeployFailed: it did not within *timeout_s* seconds; the message holds the last answer.
    """
    deadline = time.monotonic() + timeout_s
    with httpx.Client(base_url=url, timeout=5.0, trust_env=False) as client:
        while True:
            try:
                response = client.get(path)
                answer = f"{response.status_code} {response.text[:500]}"
                if response.is_success:
                    return
            except httpx.HTTPError as error:
                answer = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                raise DeployFailed(f"{url}{path} does not answer as it should after {timeout_s:.0f} s: {answer}")
            follow(answer)
            time.sleep(0.2)


def _applications(api: RayApi) -> dict[str, Any]:
    found = api.applications().get("applications")
    return found if isinstance(found, dict) else {}


def _summary(applications: Mapping[str, Any]) -> str:
    deployments = {
        name: details for each in applications.values() for name, details in each.get("deployments", {}).items()
    }
    return ", ".join(f"{name} {details['status'].lower()}" for name, details in deployments.items()) or "building"


def _reason(name: str, application: Mapping[str, Any]) -> str:
    message = str(application.get("message") or "no reason given").strip()
    # Serve ends with what went wrong, below a traceback.
    lines = [f"{name}: {application['status']}: {message.splitlines()[-1]}"]
    if "\n" in message:
        lines.append(message)
    lines += [
        f"  {deployment}: {details['status']}: {details['message']}"
        for deployment, details in application.get("deployments", {}).items()
        if details.get("message")
    ]
    return "\n".join(lines)

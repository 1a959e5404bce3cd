"""Ray's dashboard over HTTP: Serve applications, jobs, and whether it answers at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from cluster.errors import ClusterError, JobUnknown, NoAnswer

TRIES = 4
AGENT_MISSING = "No available agent"
PAUSE_S = 1.0


class RayApi:
    """
    The REST interface of one Ray cluster.

    Args:
        address: ``http://host:port`` of the dashboard.
        token: Ray's authentication token; None where the cluster asks for none.
    """

    def __init__(self, address: str, token: str | None) -> None:
        self.address = address.rstrip("/")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=self.address, headers=headers, timeout=60.0, trust_env=False)

    def answers(self) -> bool:
        """Return whether the dashboard answers, and knows us."""
        try:
            return self.client.get("/api/version", timeout=10.0).is_success
        except httpx.HTTPError:
            return False

    def version(self) -> str:
        """Return the version of Ray that the cluster runs."""
        return str(self._request("GET", "/api/version", timeout_s=10.0).get("ray_version", ""))

    def applications(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Return Serve's own account of every application, deployment and replica."""
        return self._request("GET", "/api/serve/applications/", timeout_s=timeout_s)

    def living_nodes(self) -> set[str]:
        """Return the names of the nodes that the cluster counts as alive; empty where it does not answer."""
        try:
            found = self._request("GET", "/api/v0/nodes", timeout_s=10.0)
            nodes = found["data"]["result"]["result"]
        except (ClusterError, KeyError, TypeError):
            return set()
        return {str(node["node_name"]) for node in nodes if node.get("state") == "ALIVE"}

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Ask Serve for what *config* says; it works on it in the background."""
        self._request("PUT", "/api/serve/applications/", body=config, timeout_s=120.0)

    def submit(self, entrypoint: str, *, runtime_env: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
        """Start a job and return its id."""
        name = f"raysubmit_{secrets.token_hex(8)}"
        body = {
            "submission_id": name,
            "entrypoint": entrypoint,
            "runtime_env": dict(runtime_env),
            "metadata": dict(metadata),
        }
        for further_tries in reversed(range(TRIES)):
            try:
                self._request("POST", "/api/jobs/", body=body)
            except ClusterError as error:
                # An answer that was lost is asked for again, and then the name is taken: by this job.
                if self._status_of(name) is not None:
                    break
                # The node's agent has yet to start; Ray has waited for it for a while.
                if not further_tries or AGENT_MISSING not in str(error):
                    raise
            else:
                break
        return name

    def job(self, submission_id: str) -> dict[str, Any]:
        """
        Return the state of a job.

        Raises:
            JobUnknown: the cluster knows none of that name; one that is started again has forgotten all.
        """
        return self._request("GET", f"/api/jobs/{submission_id}")

    def _status_of(self, submission_id: str) -> str | None:
        try:
            return str(self.job(submission_id)["status"])
        except (ClusterError, KeyError):
            return None

    def jobs_under_way(self, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """Return the jobs that have not ended."""
        jobs = self._answer("GET", "/api/jobs/", timeout_s=timeout_s)
        return [job for job in jobs if job.get("status") in {"PENDING", "RUNNING"}] if isinstance(jobs, list) else []

    def job_logs(self, submission_id: str) -> str:
        """Return everything the job has printed."""
        return str(self._request("GET", f"/api/jobs/{submission_id}/logs").get("logs") or "")

    def stop_job(self, submission_id: str) -> None:
        """Ask a job to stop."""
        self._request("POST", f"/api/jobs/{submission_id}/stop")

    def _sent(self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float) -> httpx.Response:
        """The answer; asked again where the connection broke off, as a busy dashboard does: nothing harms twice."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                return self.client.request(method, path, json=body, timeout=timeout_s)
            time.sleep(PAUSE_S)
        return self.client.request(method, path, json=body, timeout=timeout_s)

    def _request(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, timeout_s: float = 60.0
    ) -> dict[str, Any]:
        answer = self._answer(method, path, body=body, timeout_s=timeout_s)
        return answer if isinstance(answer, dict) else {}

    def _answer(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, timeout_s: float = 60.0
    ) -> object:
        try:
            response = self._sent(method, path, body, timeout_s)
        except httpx.HTTPError as error:
            raise NoAnswer(
                f"Ray's dashboard at {self.address} does not answer: {error or type(error).__name__}"
            ) from error
        if response.status_code in {401, 403}:
            raise ClusterError(
                f"Ray at {self.address} refuses the token. Set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to its file."
            )
        if response.status_code == httpx.codes.NOT_FOUND and path.startswith("/api/jobs/"):
            raise JobUnknown(f"Ray at {self.address} knows no such job: {response.text.strip()}")
        if response.is_error:
            raise ClusterError(f"Ray at {self.address} refused {method} {path}: {response.text.strip()}")
        return response.json() if response.content else {}


def token_from_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the token that Ray's own tools would use."""
    if environ.get("RAY_AUTH_TOKEN"):
        return environ["RAY_AUTH_TOKEN"].strip()
    path = Path(environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text().strip() or None
    except OSError:
        return None

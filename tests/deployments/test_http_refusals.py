from __future__ import annotations

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from deployments.admission import Admission, AdmissionConfig
from deployments.http.refusals import Doorman
from deployments.http.schemas import ProblemBody

TIGHT = AdmissionConfig(least_reads=1, first_reads=1, most_reads=1, most_waiting_reads=0)


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
def client() -> httpx.AsyncClient:
    door = Doorman(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://shop")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    monkeypatch.setattr(Doorman, "_served", None)
    return []


class TestDoorman:
    @pytest.mark.usefixtures("told")
    async def test_until_there_is_a_gateway_all_pass(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/search?q=a")).status_code == 200

    async def test_what_the_guard_would_refuse_is_refused_and_counted(
        self, client: httpx.AsyncClient, told: list[tuple[str, int]]
    ) -> None:
        admission = Admission(TIGHT)
        Doorman.serve(admission, told=lambda path, status, _: told.append((path, status)))
        entered = await admission.reads.enter()
        assert entered is not None
        refused = await client.get("/v1/search?q=a", headers={"X-Request-ID": "mine"})
        others = [await client.get("/health"), await client.get("/"), await client.post("/v1/events", json={})]
        admission.reads.leave(entered)
        taken = await client.get("/v1/search?q=a")
        assert refused.status_code == 429
        assert ProblemBody.model_validate(refused.json()).request_id == "mine" == refused.headers["x-request-id"]
        assert 1 <= int(refused.headers["retry-after"]) <= 3
        assert [one.status_code for one in (*others, taken)] == [200] * 4
        assert told == [("/v1/search", 429)]
        assert admission.shed == {"reads": 1}

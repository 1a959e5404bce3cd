from __future__ import annotations

import schemathesis
from schemathesis import Case

from bench.fuzz import Fuzzer
from catalogue.products import BatchProduct
from deployments.admission import Admission, AdmissionConfig
from deployments.http.api import http_api
from tests.deployments.memory_shop import MemoryShop


class TestDocument:
    def test_describes_every_answer_to_requests_that_fit_it_and_to_others(self) -> None:
        shop = MemoryShop()
        shop.products = {name: BatchProduct(id=name, title=f"The {name}") for name in ("p1", "p2", "p3")}
        app = http_api(shop, Admission(AdmissionConfig()))
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        fuzzed = Fuzzer(schema, examples=20, number=1, send=Case.call_and_validate).run()
        assert fuzzed.findings == []
        assert len(fuzzed.requests) == 13

"""
Requests drawn from the API's own OpenAPI document, valid and invalid, each answer held against that document.

``python -m bench.fuzz http://127.0.0.1:8000 --examples 500`` prints what does not hold: a status, a content type, a
header or a body that the document does not describe. 500 is not described, so every 500 is found; 503 and 504 are, with
their shape. What it writes is under ids that begin with ``fuzz-``, and products are deleted at the end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# Not whether every request that fits the document is accepted: it cannot say that `similar` needs products, nor that
# a batch keeps its good items.
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PREFIX = "fuzz-"
OURS = {"id", "product_id", "user_id"}
TIMEOUT_S = 60.0
LONG_URL = 12_000


@dataclass(frozen=True)
class Finding:
    """An answer that the document does not describe, with the request that had it."""

    operation: str
    title: str
    detail: str


@dataclass(frozen=True)
class Fuzzed:
    """How many requests were sent to each operation, and what was found, once for each operation and title."""

    requests: dict[str, int]
    findings: list[Finding]


class Fuzzer:
    """
    Sends requests and collects what they find.

    Args:
        schema: The loaded document.
        examples: Requests for each operation, half of them valid, half not.
        number: Seeds what is drawn: the same number draws the same requests.
        send: Sends a case and validates the answer with the checks given; raises FailureGroup.
    """

    def __init__(self, schema: BaseSchema, *, examples: int, number: int, send: Callable[..., Any]) -> None:
        self._schema = schema
        self._examples = examples
        self._number = number
        self._send = send
        self._requests: dict[str, int] = {}
        self._findings: dict[tuple[str, str], Finding] = {}
        self.product_ids: set[str] = set()

    def run(self) -> Fuzzed:
        """Fuzz every operation."""
        for found in self._schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                self._fuzz(operation, mode)
        return Fuzzed(self._requests, list(self._findings.values()))

    def _fuzz(self, operation: Any, mode: GenerationMode) -> None:  # noqa: ANN401 - schemathesis leaves it open
        @seed(self._number)
        @settings(
            max_examples=max(1, self._examples // 2),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            self._ask(operation.label, case)

        try:
            ask()
        except Unsatisfiable:
            # Without parameters there is nothing to get wrong.
            return

    def _ask(self, label: str, case: Case[Any]) -> None:
        self._keep_apart(case)
        self._requests[label] = self._requests.get(label, 0) + 1
        try:
            self._send(case, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                title = str(getattr(failure, "title", type(failure).__name__))
                self._findings.setdefault((label, title), Finding(label, title, str(group)))

    def _keep_apart(self, case: Case[Any]) -> None:
        """Give everything that the request would write an id of our own."""
        if case.method not in {"PUT", "POST", "DELETE"} or case.path in {"/v1/search", "/v1/recommendations"}:
            return
        parameters = case.path_parameters
        if parameters and isinstance(parameters.get("product_id"), str):
            parameters["product_id"] = PREFIX + parameters["product_id"]
            self.product_ids.add(parameters["product_id"])
        for item in _items(case.body):
            for name in OURS & item.keys():
                if isinstance(item[name], str):
                    item[name] = PREFIX + item[name]
            if case.path == "/v1/products" and isinstance(item.get("id"), str):
                self.product_ids.add(item["id"])


def _items(body: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - whatever was drawn
    if not isinstance(body, dict):
        return
    for key in ("products", "events"):
        found = body.get(key)
        if isinstance(found, list):
            yield from (item for item in found if isinstance(item, dict))


def fuzz(url: str, *, examples: int, number: int) -> Fuzzed:
    """Fuzz the API at *url* and delete the products that this wrote."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", wait_for_schema=TIMEOUT_S)

    def send(case: Case[Any], *, checks: list[Any]) -> None:
        response = case.call(base_url=url, timeout=TIMEOUT_S)
        # Such a request the proxy refuses before anything of ours sees it.
        if len(str(response.request.url)) < LONG_URL:
            case.validate_response(response, checks=checks)

    fuzzer = Fuzzer(schema, examples=examples, number=number, send=send)
    try:
        return fuzzer.run()
    finally:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
            for product_id in fuzzer.product_ids:
                path = quote(product_id.encode("utf-8", "surrogatepass"), safe="")
                client.delete(f"/v1/products/{path}")


def main() -> int:
    """Fuzz, print what was found; return 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--examples", type=int, default=200, help="requests for each operation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    fuzzed = fuzz(arguments.url.rstrip("/"), examples=arguments.examples, number=arguments.seed)
    for operation, count in sorted(fuzzed.requests.items()):
        print(f"{count:6} {operation}")
    for finding in fuzzed.findings:
        print(f"\n{finding.operation}: {finding.title}\n{finding.detail}")
    print(f"\n{sum(fuzzed.requests.values())} requests, {len(fuzzed.findings)} findings")
    return 1 if fuzzed.findings else 0


if __name__ == "__main__":
    sys.exit(main())

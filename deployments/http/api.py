"""The HTTP interface: routes and nothing else. What is behind them is a ``Shop``."""

# FastAPI reads these annotations at run time.
import time
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import Response

from catalogue.events import Event
from catalogue.products import BatchProduct, ProductWrite
from contracts.answers import Answer
from contracts.deadline import Deadline
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.text import Id
from deployments.admission import Admission
from deployments.http import paths  # noqa: F401 - what ":any" means
from deployments.http.batches import JSON, batch_body, json_body, validated
from deployments.http.bodies import answer_body, degraded_header
from deployments.http.consistency import HEADER, PARAMETER, after_write
from deployments.http.cursor import Cursor, next_cursor
from deployments.http.guard import Guard
from deployments.http.openapi import NOT_FOUND, PROBLEMS, READ_HEADERS, WRITE_HEADERS, as_problems, batch_of, body_of
from deployments.http.page import add_page
from deployments.http.problems import Problem, deadline_missed, field_errors, invalid, not_found
from deployments.http.queries import NoQuery, RecommendationQuery, SearchQuery, UsersQuery
from deployments.http.schemas import EventsWritten, ProductsWritten, ReadBody
from deployments.http.shop import Shop

DESCRIPTION = "Search, recommendation and ranking for a product catalogue. Every answer says how it was made."
LISTS = {"product_ids", "exclude_ids"}


def http_api(shop: Shop, admission: Admission) -> FastAPI:
    """Return the ASGI application over *shop*, which takes on what *admission* lets in."""
    app = FastAPIOffline(title="Shortlist", version="1", description=DESCRIPTION, redoc_url=None)
    app.add_middleware(Guard, admission=admission)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_exception_handler(HTTPException, _http_problem)
    _add_reads(app, shop)
    _add_products(app, shop)
    _add_events(app, shop)
    _add_health(app, shop)
    _add_users(app, shop)
    add_page(app)
    document = app.openapi

    def openapi() -> dict[str, Any]:
        return as_problems(document())

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to amend the document
    return app


def _add_reads(app: FastAPI, shop: Shop) -> None:
    documented: dict[str, Any] = {"response_model": ReadBody, "responses": READ_HEADERS | PROBLEMS, "tags": ["read"]}
    after = {"parameters": [PARAMETER]}

    @app.get("/v1/search", summary="Search", openapi_extra=after, **documented)
    async def search(query: Annotated[SearchQuery, Query()], http: Request) -> Response:
        _each_once(http)
        return await _searched(shop, after_write(query, http), http)

    @app.post("/v1/search", summary="Search", openapi_extra=after | body_of(SearchRequest), **documented)
    async def search_by_body(http: Request, _: Annotated[NoQuery, Query()]) -> Response:
        return await _searched(shop, after_write(validated(SearchRequest, await json_body(http)), http), http)

    @app.get("/v1/recommendations", summary="Recommend", openapi_extra=after, **documented)
    async def recommendations(query: Annotated[RecommendationQuery, Query()], http: Request) -> Response:
        _each_once(http)
        return await _recommended(shop, after_write(query, http), http)

    @app.post(
        "/v1/recommendations", summary="Recommend", openapi_extra=after | body_of(RecommendationRequest), **documented
    )
    async def recommendations_by_body(http: Request, _: Annotated[NoQuery, Query()]) -> Response:
        request = validated(RecommendationRequest, await json_body(http))
        return await _recommended(shop, after_write(request, http), http)


def _add_products(app: FastAPI, shop: Shop) -> None:
    documented: dict[str, Any] = {
        "response_model": ProductsWritten,
        "responses": PROBLEMS | {200: {"headers": WRITE_HEADERS}},
        "tags": ["products"],
    }
    no_query = [Depends(_no_query)]

    @app.get(
        "/v1/products/{product_id:any}", summary="Read a product", tags=["products"], responses=NOT_FOUND | PROBLEMS
    )
    async def product(product_id: Id, _: Annotated[NoQuery, Query()]) -> Response:
        found = await shop.product(product_id)
        if found is None:
            raise not_found(product_id)
        return _json(dict(found))

    @app.put(
        "/v1/products/{product_id:any}",
        summary="Write a product",
        dependencies=no_query,
        openapi_extra=body_of(ProductWrite),
        **documented,
    )
    async def put_product(product_id: Id, http: Request) -> Response:
        written = validated(ProductWrite, await json_body(http))
        try:
            product = written.named(product_id)
        except ValueError as error:
            raise invalid([{"field": "id", "message": str(error)}]) from error
        done = await shop.put_products([product], size_bytes=len(await http.body()))
        return _json(_written(http, accepted=1, changed=done.changed), token=done.token)

    @app.post(
        "/v1/products",
        summary="Write many products",
        dependencies=no_query,
        openapi_extra=batch_of(BatchProduct, "products"),
        **documented,
    )
    async def post_products(http: Request) -> Response:
        products = await batch_body(BatchProduct, http, key="products")
        done = await shop.put_products(products.items, size_bytes=len(await http.body()))
        body = _written(
            http,
            accepted=len(products.items),
            changed=done.changed,
            rejected=products.rejected,
            errors=products.errors,
        )
        return _json(body, token=done.token)

    @app.delete(
        "/v1/products/{product_id:any}", summary="Delete a product", dependencies=no_query, status_code=204,
        tags=["products"], responses=NOT_FOUND | PROBLEMS | {204: {"headers": WRITE_HEADERS}},
    )  # fmt: skip
    async def delete_product(product_id: Id) -> Response:
        done = await shop.delete_product(product_id)
        if not done.existed:
            raise not_found(product_id)
        return Response(status_code=204, headers=_token(done.token))


def _add_events(app: FastAPI, shop: Shop) -> None:
    @app.post(
        "/v1/events",
        summary="Send events",
        status_code=202,
        dependencies=[Depends(_no_query)],
        response_model=EventsWritten,
        responses=PROBLEMS | {202: {"headers": WRITE_HEADERS}},
        tags=["events"],
        openapi_extra=batch_of(Event, "events"),
    )
    async def post_events(http: Request) -> Response:
        events = await batch_body(Event, http, key="events")
        done = await shop.add_events(events.items, size_bytes=len(await http.body()))
        body = {"request_id": http.state.request_id, "accepted": done.accepted, "duplicates": done.duplicates}
        return _json(body | {"rejected": events.rejected, "errors": events.errors}, status=202, token=done.token)


def _add_health(app: FastAPI, shop: Shop) -> None:
    @app.head("/health", include_in_schema=False)
    @app.get("/health", summary="The state of every part", tags=["health"])
    async def health() -> Response:
        return _json(dict(await shop.health()))

    @app.head("/health/live", include_in_schema=False)
    @app.get("/health/live", summary="Whether the process works", tags=["health"])
    async def live() -> Response:
        return _json({"status": "live"})

    @app.head("/health/ready", include_in_schema=False)
    @app.get(
        "/health/ready",
        summary="Whether anything can be answered",
        tags=["health"],
        responses={503: PROBLEMS[503]},
    )
    async def ready() -> Response:
        if not await shop.ready():
            detail = "Neither the database nor an index can answer. See /health for what is down."
            raise Problem(503, "not_ready", detail, retry_after_s=1)
        return _json({"status": "ready"})


def _add_users(app: FastAPI, shop: Shop) -> None:
    @app.get("/v1/users", summary="Some users with many events", tags=["read"])
    async def users(query: Annotated[UsersQuery, Query()]) -> Response:
        return _json({"users": [{"id": user_id} for user_id in await shop.sample_users(query.limit)]})


def _each_once(http: Request) -> None:
    """
    Refuse a parameter that is given more than once, unless it is a list.

    Raises:
        Problem: 422, naming it.
    """
    given = http.query_params
    twice = [name for name in given if name not in LISTS and len(given.getlist(name)) > 1]
    if twice:
        raise invalid([{"field": name, "message": "is given more than once"} for name in twice])


async def _searched(shop: Shop, request: SearchRequest, http: Request) -> Response:
    cursor = Cursor.of(request)
    answer = await shop.search(request, offset=cursor.offset, deadline=_deadline(request, http))
    response = _answered(answer, request, http, cursor)
    shop.shown(request, answer, http.state.request_id)
    return response


async def _recommended(shop: Shop, request: RecommendationRequest, http: Request) -> Response:
    cursor = Cursor.of(request)
    answer = await shop.recommend(request, offset=cursor.offset, deadline=_deadline(request, http))
    response = _answered(answer, request, http, cursor)
    shop.shown(request, answer, http.state.request_id)
    return response


def _deadline(request: ReadRequest, http: Request) -> Deadline:
    """Return when *request* must be answered; its time runs since it was received."""
    return Deadline(http.state.received_s + request.timeout_ms / 1000)


def _answered(answer: Answer, request: ReadRequest, http: Request, cursor: Cursor) -> Response:
    degraded = degraded_header(answer.stages)
    if answer.missed_deadline:
        raise deadline_missed(request.timeout_ms)
    if not answer.answered or (request.degradation == "forbid" and answer.may_differ):
        code = "degraded" if answer.answered else "unavailable"
        detail = f"A part is down ({degraded}) and the request cannot be answered without it. Retry after 1 s."
        raise Problem(503, code, detail, retry_after_s=1, extra={"stages": answer.stages}, headers=_degraded(degraded))
    cursor.check(answer.versions)
    if request.consistency_token is not None:
        answer = replace(answer, freshness=replace(answer.freshness, consistent=answer.consistent))
    end = cursor.offset + request.limit
    following = next_cursor(request, answer.versions, offset=end) if answer.page.kept > end else None
    took_ms = (time.monotonic() - http.state.received_s) * 1000
    request_id = http.state.request_id
    body = answer_body(answer, request_id=request_id, took_ms=took_ms, next_cursor=following)
    headers = _degraded(degraded) | ({} if answer.cache_status is None else {"Cache-Status": answer.cache_status})
    return Response(body, media_type="application/json", headers=headers)


def _degraded(value: str | None) -> dict[str, str]:
    return {} if value is None else {"X-Degraded": value}


def _written(http: Request, *, accepted: int, changed: int, rejected: int = 0, errors: Any = ()) -> dict[str, Any]:  # noqa: ANN401
    return {
        "request_id": http.state.request_id,
        "accepted": accepted,
        "changed": changed,
        "rejected": rejected,
        "errors": list(errors),
    }


def _json(body: dict[str, Any], *, status: int = 200, token: str | None = None) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type=JSON, headers=_token(token))


def _token(token: str | None) -> dict[str, str]:
    return {} if token is None else {HEADER: token}


async def _no_query(_: Annotated[NoQuery, Query()]) -> None:
    """Refuse every query parameter."""


async def _validation_problem(http: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid(field_errors(error.errors(), located=True)).response(http.state.request_id)


async def _http_problem(http: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    detail = f"{http.method} {http.url.path}: {error.detail}. /docs lists what there is."
    problem = Problem(error.status_code, codes.get(error.status_code, "http_error"), detail, headers=error.headers)
    return problem.response(http.state.request_id)

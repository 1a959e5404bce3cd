"""The gateway deployment: HTTP in front, the other deployments behind. It validates and orchestrates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from catalogue.events import Event
from catalogue.impressions import Impression
from catalogue.products import BatchProduct
from contracts.answers import Answer
from contracts.deadline import Deadline
from contracts.requests import RecommendationRequest, SearchRequest
from contracts.versions import Versions
from contracts.writes import Deleted, EventsAdded, Written
from deployments.admission import Admission
from deployments.cached_reads import CachedReads
from deployments.config import GraphConfig
from deployments.deployed_versions import DeployedVersions
from deployments.graph_health import GraphHealth, firing
from deployments.hop import Hop, HopFailed, retry_samples
from deployments.http.api import http_api
from deployments.http.problems import unacknowledged, unavailable
from deployments.http.refusals import Doorman
from deployments.http.timed import Timed
from deployments.impression_log import ImpressionLog, impression_of
from deployments.ingestion import transaction_s
from deployments.options import INGRESS
from deployments.read_path import ReadPath
from deployments.replacements import Replacements, ReplacementWatch, deployments_of
from deployments.replica import being_deployed, most_replicas, settle
from deployments.replica_health import ReplicaHealth
from deployments.replica_log import log_beside_serve
from deployments.request_figures import RequestFigures
from deployments.single_flight import SingleFlight
from deployments.spare_workers import SpareWorkers
from deployments.stand_ins import StandIns
from deployments.store_metrics import export_stores
from deployments.stores import open_cache, open_database
from deployments.warm_stand_ins import WarmStandIns
from retrieval.attribute_cache import AttributeCache
from retrieval.epoch import EpochWatcher
from retrieval.hydration import Hydrator
from retrieval.keyword_search import KeywordSearch
from retrieval.recommendation import RecommendationRetrieval
from retrieval.stage_run import cause_of
from retrieval.user_events import event_count
from storage.breakers import Breakers
from storage.errors import DatabaseUnavailable

# While all is brought up the others come a little later; at any other time one that does not answer is down.
WARM_UP_S = 20.0
RESTART_S = 1.0
SAMPLE_TIMEOUT_S = 2.0
REPORT_TIMEOUT_S = 10.0


@serve.deployment(name="gateway", **INGRESS)
@serve.ingress()
class GatewayDeployment:
    """Answers over HTTP; holds a database pool for hydration, so that a hit costs one read and no hop."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        search: DeploymentHandle[Any],
        recommendation: DeploymentHandle[Any],
        ranking: DeploymentHandle[Any],
        ingestion: DeploymentHandle[Any],
        config: GraphConfig,
    ) -> None:
        log_beside_serve()
        self._config = config
        self._breakers = Breakers(config.breaker)
        hops = {
            handle.deployment_name: Hop(handle, self._breakers.of(handle.deployment_name))
            for handle in (search, recommendation, ranking, ingestion)
        }
        self._ingestion = hops["ingestion"]
        # A breaker of its own: impressions that wait must not have writes refused.
        self._recording = Hop(ingestion, self._breakers.of("impressions"))
        self._database = await open_database("gateway", config.storage, self._breakers)
        self._cache = open_cache(self._breakers)
        self._attributes = AttributeCache(self._cache)
        self._hydrator = Hydrator(self._database, attributes=self._attributes)
        self._epoch = EpochWatcher(self._database)
        self._health = GraphHealth(
            hops,
            self._database,
            self._cache,
            config.storage,
            own_replicas=most_replicas(),
        )
        self._reports: SingleFlight[dict[str, Any]] = SingleFlight()
        self._deployed = DeployedVersions(self._health)
        self._replica_health = ReplicaHealth()
        self._admission = Admission(config.admission)
        self._figures = RequestFigures()
        replacements = Replacements()
        self._replacements = ReplacementWatch(
            replacements, partial(deployments_of, serve.get_replica_context().app_name)
        )
        self._spares = SpareWorkers.of_this_node()
        self._metrics = export_stores(
            self._database,
            self._cache,
            self._breakers,
            self._replica_health.samples,
            self._admission.samples,
            self._figures.samples,
            replacements.samples,
            lambda: retry_samples(hops.values()),
        )
        stand_ins = StandIns(
            words=KeywordSearch(self._database, config.retrieval, cache=self._cache),
            popular=RecommendationRetrieval(self._database, self._cache, config.retrieval),
        )
        self._warm = WarmStandIns(stand_ins)
        self._reads = ReadPath(
            search=hops["search"],
            recommendation=hops["recommendation"],
            ranking=hops["ranking"],
            stand_ins=stand_ins,
            cached=CachedReads(
                self._cache, versions=self._versions, event_count=self._event_count, of_arm=self._deployed.of_arm
            ),
            hydrator=self._hydrator,
            config=config,
            attributes=self._attributes,
        )
        self._attributes.start()
        self._impressions = ImpressionLog(self._record, capacity=config.gateway.impression_buffer)
        self._impressions.start()
        self._replica_health.watch(
            database=self._database,
            epoch=self._epoch,
            versions=self._deployed,
            impressions=self._impressions,
            replacements=self._replacements,
            attributes=self._attributes,
            stand_ins=self._warm,
            metrics=self._metrics,
            spares=self._spares,
        )
        Doorman.serve(self._admission, told=self._figures.answered)
        await self._warm_up()
        await self._epoch.start()
        await self._deployed.start()
        self._replacements.start()
        self._warm.start()
        self._spares.start()
        settle()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The HTTP application, built in the replica so that it is bound to this object."""
        app = http_api(self, self._admission)
        app.add_middleware(Timed, told=self._figures.answered)
        return app

    async def search(self, request: SearchRequest, *, offset: int, deadline: Deadline) -> Answer:
        """Answer a search by *deadline*."""
        answer = await self._reads.searched(request, offset=offset, deadline=deadline)
        self._figures.made("search", answer.stages)
        return answer

    async def recommend(self, request: RecommendationRequest, *, offset: int, deadline: Deadline) -> Answer:
        """Answer a request for recommendations by *deadline*."""
        answer = await self._reads.recommended(request, offset=offset, deadline=deadline)
        self._figures.made("recommendations", answer.stages)
        return answer

    def shown(self, request: SearchRequest | RecommendationRequest, answer: Answer, request_id: str) -> None:
        """Put what *answer* shows on its way to the database."""
        if answer.page.hits:
            self._impressions.add(impression_of(request, answer, request_id))

    async def product(self, product_id: str) -> Mapping[str, Any] | None:
        """Return a product as last written, or None; raises Problem 503 when no database answers."""
        try:
            return await self._hydrator.product_as_written(product_id)
        except DatabaseUnavailable as error:
            raise unavailable("The catalogue", cause=cause_of(error)) from error

    async def put_products(self, products: list[BatchProduct], *, size_bytes: int) -> Written:
        """Write products; return after the commit."""
        written: Written = await self._write("put_products", products, size_bytes=size_bytes)
        return written

    async def delete_product(self, product_id: str) -> Deleted:
        """Delete a product; return after the commit."""
        deleted: Deleted = await self._write("delete_product", product_id)
        return deleted

    async def add_events(self, events: list[Event], *, size_bytes: int) -> EventsAdded:
        """Write events; return after the commit."""
        added: EventsAdded = await self._write("add_events", events, size_bytes=size_bytes)
        return added

    async def sample_users(self, limit: int) -> list[str]:
        """Return users with many events."""
        try:
            rows = await self._database.fetch("sample_users", limit, timeout_s=SAMPLE_TIMEOUT_S)
        except DatabaseUnavailable as error:
            raise unavailable("The list of users", cause=cause_of(error)) from error
        return [str(row["user_id"]) for row in rows.records]

    async def ready(self) -> bool:
        """Return whether this region can answer anything at all."""
        return await self._health.ready()

    async def health(self) -> Mapping[str, Any]:
        """Return the state of every part as this replica sees it."""
        # However many ask, every part is asked once.
        report, _ = await self._reports.do("health", self._health.report, timeout_s=REPORT_TIMEOUT_S)
        return {
            **report,
            "breakers": self._breakers.report(),
            "config": self._config.version,
            "impressions_dropped": self._impressions.dropped,
            "health_check": self._replica_health.status(),
            "admission": self._admission.status(),
            "alerts": firing(self._metrics.alerts.firing(), report["deployments"].values()),
        }

    async def check_health(self) -> None:
        """Return if this process is well; a dependency that is down must never get a replica killed."""
        await self._replica_health.check()

    async def __del__(self) -> None:
        """Write what is waiting, when Serve stops the replica."""
        await self._warm.stop()
        await self._spares.stop()
        await self._replacements.stop()
        await self._deployed.stop()
        await self._epoch.stop()
        await self._impressions.stop()
        await self._attributes.stop()

    async def _warm_up(self) -> None:
        """
        Call each deployment once, so that no client waits for handles and connections to be made.

        A deployment that does not come up holds the gateway back for a while, not for good, and a gateway that replaces
        another hardly at all.
        """
        timeout_s = WARM_UP_S if await being_deployed() else RESTART_S
        await asyncio.gather(
            *(self._health.status(part, timeout_s=timeout_s) for part in self._health.parts),
            self._warm.once(timeout_s=min(timeout_s, 5.0)),
        )
        self._health.warn_of_connections()
        timeout_ms = int(min(timeout_s, 5.0) * 1000)
        await self._reads.searched(SearchRequest(q="warm up", user_id="nobody", timeout_ms=timeout_ms), offset=0)

    def _versions(self) -> Versions | None:
        """The versions of an answer made now; None while the catalogue's epoch is not known."""
        known = self._deployed.current
        return self._epoch.versions(index=known.index, cf=known.cf, weights=known.weights, config=self._config.version)

    async def _event_count(self, user_id: str, timeout_s: float) -> int:
        return await event_count(self._database, user_id, timeout_s=timeout_s)

    async def _write(self, method: str, argument: object, *, size_bytes: int = 0) -> Any:  # noqa: ANN401 - its answer
        """
        Return what ingestion acknowledges. It is asked once: only the client knows whether a second time does harm.

        Raises:
            Problem: 503, nothing was acknowledged; it says whether it may have been written all the same.
        """
        timeout_s = self._config.gateway.write_s(size_bytes)
        try:
            return await self._ingestion.call(method, argument, transaction_s(timeout_s), timeout_s=timeout_s)
        except HopFailed as failure:
            raise unacknowledged(failure.cause, undone=failure.undone, retry_in_s=failure.retry_in_s) from failure

    async def _record(self, impressions: list[Impression]) -> None:
        timeout_s = self._config.gateway.write_s()
        await self._recording.call("record_impressions", impressions, transaction_s(timeout_s), timeout_s=timeout_s)

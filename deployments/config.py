"""The arguments of the graph, as given under ``args:`` in the Serve configuration."""

# Pydantic reads these annotations at run time.
import hashlib
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from catalogue.config import MaintenanceConfig
from deployments.admission import AdmissionConfig
from retrieval.config import RetrievalConfig
from storage.config import BreakerConfig, StorageConfig

Share = Annotated[float, Field(gt=0, lt=1)]


class GatewayConfig(BaseModel):
    """
    How the gateway spends a request's time.

    Attributes:
        retrieve_share: What retrieval may take of the time left; what stands in for it, most of what is then left.
        rank_share: What ranking may then take of the time left.
        write_timeout_s: Seconds a write may take; ingestion undoes it a little earlier.
        write_mib_s: Seconds more for each MiB of its body.
        impression_buffer: Most impressions waiting to be written; beyond them the oldest are dropped and counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    retrieve_share: Share = 0.6
    rank_share: Share = 0.7
    write_timeout_s: Annotated[float, Field(gt=0, le=300)] = 5.0
    write_mib_s: Annotated[float, Field(ge=0, le=30)] = 3.5
    impression_buffer: Annotated[int, Field(ge=1)] = 10_000

    def write_s(self, size_bytes: int = 0) -> float:
        """Return the seconds that a write with a body of *size_bytes* may take, until the client has an answer."""
        return self.write_timeout_s + self.write_mib_s * size_bytes / 2**20


class GraphConfig(BaseModel):
    """
    What an operator may change about the graph, under ``args:``; a change of it restarts every replica, one by one.

    The ranking configuration is not here: it is the ranking deployment's ``user_config``, which changes in place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gateway: GatewayConfig = GatewayConfig()
    admission: AdmissionConfig = AdmissionConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    storage: StorageConfig = StorageConfig()
    breaker: BreakerConfig = BreakerConfig()
    maintenance: MaintenanceConfig = MaintenanceConfig()

    @cached_property
    def version(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of what shapes answers: gateway and retrieval settings."""
        text = self.gateway.model_dump_json() + self.retrieval.model_dump_json()
        return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Everything that a replica counts: exported as metrics, and watched for what an operator should look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

from deployments.alert_rules import RULES
from deployments.alerts import Alerts
from deployments.metrics import MetricsExport, Sample


class ReplicaMetrics(MetricsExport):
    """
    The figures of one replica.

    Args:
        sources: Each yields samples.

    Attributes:
        alerts: What is wrong, by the figures of this process alone.
    """

    def __init__(self, *sources: Callable[[], Iterable[Sample]]) -> None:
        self.alerts = Alerts(RULES)
        super().__init__(lambda: chain.from_iterable(source() for source in sources), told=self.alerts.look)


def export_replica(*sources: Callable[[], Iterable[Sample]]) -> ReplicaMetrics:
    """Export what *sources* yield for as long as what is returned is held."""
    exported = ReplicaMetrics(*sources)
    exported.start()
    return exported

"""
How Serve's router picks a replica, and what it lets hops see of that.

Serve pickles this module by value into the deployment's configuration: all state is in `deployments.replica_sight`,
which is imported there as it is.
"""

from __future__ import annotations

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter
from ray.serve.request_router import ReplicaID, RunningReplica

from deployments import replica_sight

PATH = "deployments.request_router.SightedRouter"


class SightedRouter(PowerOfTwoChoicesRequestRouter):
    """Serve's own choice of a replica; tells which replica a call is sent to, and when none is left."""

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take the replicas that there are from now on."""
        super().update_replicas(replicas)
        replica_sight.note_replicas(self._deployment_id.app_name, self._deployment_id.name, self.curr_replicas)

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """Count a call that is being sent to a replica."""
        super().on_send_request(replica_id)
        replica_sight.note_sent(replica_id, lambda: self.doubt(replica_id))

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Leave out a replica that is dead."""
        super().on_replica_actor_died(replica_id)
        self._note_lost(replica_id)

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        """Have a replica that could not be reached answer a probe before it gets another call."""
        super().on_replica_actor_unavailable(replica_id)
        self._note_lost(replica_id)

    def doubt(self, replica_id: ReplicaID) -> None:
        """Have a replica that let a call time out answer a probe before it gets another call."""
        super().on_replica_actor_unavailable(replica_id)

    def _note_lost(self, replica_id: ReplicaID) -> None:
        replica_sight.note_lost(self._deployment_id.app_name, self._deployment_id.name, replica_id, self.curr_replicas)

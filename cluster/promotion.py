"""
Put the read replica in the primary's place.

The order is what makes it safe: the old primary is dead and fenced before the replica takes its first write, so that no
write is ever acknowledged by a server whose writes nobody will see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cluster import child
from cluster.control_data import end_of_log
from cluster.errors import ClusterError, PromotionRefused, ServerFailed
from cluster.postgres import PostgresServer
from cluster.postgres_pair import PostgresPair
from cluster.promotion_record import PromotionRecord, PromotionRequest

log = logging.getLogger("supervisor")

SHUTDOWN_TIMEOUT_S = 60.0


def promote(pair: PostgresPair, request: PromotionRequest, record: PromotionRecord, say: Callable[[str], None]) -> None:
    """
    Promote the replica of *pair* and bring the old primary back as its replica; *record* says what came of it.

    Args:
        pair: The servers, of which the replica must answer.
        request: What was asked for.
        record: Filled in; its ``condition`` is left to the caller.
        say: Told each step.

    Raises:
        PromotionRefused: nothing was changed.
        ClusterError: it failed on the way; the message says where.
    """
    old, new = pair.primary, pair.replica
    _require(pair, request)
    # One that lives and does not answer may just be recovering from a crash.
    record.planned = old.is_running() and child.wait_until(old.answers, timeout_s=request.wait_s)
    if record.planned:
        say("waiting until the replica has replayed everything")
        _catch_up(old, new, request.wait_s)
        say("stopping the old primary")
        _hand_over_all(pair, old, new)
    else:
        say("making sure that the old primary is dead")
        old.kill()
        pair.launcher.end_orphans()
    end = None if record.planned else end_of_log(old.programs, old.data)
    pair.hand_over("start" if record.planned else "rewind")
    say("promoting the replica")
    new.promote()
    if record.planned or end is not None:
        record.lost_bytes = 0 if end is None else max(0, end - new.replayed())
    log.warning("%s on port %d is promoted; %s bytes lost", new.name, new.port, record.lost_bytes)
    say("bringing the old primary back as a read replica")
    try:
        record.replica_streams = pair.follow()
    except ClusterError as error:
        log.exception("%s: did not come back; trying again", old.name)
        record.error = f"The old primary did not come back as a replica yet: {error}"


def _require(pair: PostgresPair, request: PromotionRequest) -> None:
    if pair.primary.port != request.demote:
        raise PromotionRefused("Another promotion was faster: look at the roles again with shortlist status")
    if pair.rejoin is not None:
        raise PromotionRefused(f"{pair.replica.name} was replaced as primary and does not follow its successor yet")
    if not child.wait_until(pair.replica.answers, timeout_s=request.wait_s):
        raise PromotionRefused(f"The read replica does not answer: nothing was changed. See {pair.replica.log}")


def _catch_up(old: PostgresServer, new: PostgresServer, wait_s: float) -> None:
    """Return once *new* has replayed what the living *old* had written a moment ago."""
    behind = 0

    def caught_up() -> bool:
        nonlocal behind
        written = old.written()
        behind = written - new.replayed()
        return behind <= 0 and new.is_streaming()

    if not child.wait_until(caught_up, timeout_s=wait_s):
        raise PromotionRefused(
            f"The primary works and its replica is {max(0, behind)} bytes behind after {wait_s:g} s. Nothing was "
            f"changed. Wait longer with --wait, or see why it does not catch up: {new.log}"
        )


def _hand_over_all(pair: PostgresPair, old: PostgresServer, new: PostgresServer) -> None:
    """Stop *old*, which sends all it has before it ends; start it again if *new* did not get all of it."""
    try:
        old.stop(SHUTDOWN_TIMEOUT_S)
        control = old.control()
        if control.state == "shut down" and child.wait_until(
            lambda: new.replayed() > control.checkpoint, timeout_s=SHUTDOWN_TIMEOUT_S
        ):
            return
        why = f"it ended as '{control.state}', and the replica has not all of it"
    except ServerFailed as error:
        why = str(error)
    pair.launcher.end_orphans()
    pair.launcher.start(old)
    raise PromotionRefused(f"The primary could not hand over: {why}. It was started again and nothing was changed")

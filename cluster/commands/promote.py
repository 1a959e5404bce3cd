"""``shortlist promote``: the read replica takes the primary's place."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.console import Output
from cluster.promotion_record import PromotionRecord
from cluster.status import postgres_ports

Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        min=0.0,
        help="Most seconds for each server to answer, and for the replica to replay all that a living primary wrote.",
    ),
]


def promote(state_dir: StateDir = None, wait: Wait = 30.0, as_json: AsJson = False) -> None:
    """
    Promote the local read replica, fence the old primary, and make that the new primary's replica.

    A living primary is stopped once the replica has everything, so that nothing is lost; writes wait or fail for about
    a second. Where the primary is dead or does not answer, what it had not sent is lost, and the length of that is
    told. Exit code 9 when the replica cannot be promoted: nothing is changed then.
    """
    output = Output(as_json=as_json)
    stack = stack_at(state_dir, output)
    with output.step("promotion") as progress:
        record = stack.promote(wait_s=wait, follow=lambda record: progress.say(record.doing))
    ports = postgres_ports(stack.running())
    output.tell(f"  {_what_was_lost(record)}")
    for name, port in ports.items():
        output.tell(f"  {name} is the server on port {port}")
    if record.error:
        output.tell(f"  {record.error}. It is tried again every few seconds: shortlist status")
    output.answer(
        {
            "planned": record.planned,
            "lost_bytes": record.lost_bytes,
            "ports": ports,
            "replica_streams": record.replica_streams,
            "error": record.error,
            "seconds": output.seconds,
        }
    )


def _what_was_lost(record: PromotionRecord) -> str:
    if record.planned:
        return "The old primary handed over all it had: nothing is lost"
    if record.lost_bytes is None:
        return "The old primary did not answer, and its log cannot be read: what it had not sent is lost"
    if record.lost_bytes == 0:
        return "The old primary did not answer; the replica had all of its log: nothing is lost"
    return f"The old primary did not answer; the last {record.lost_bytes} bytes of its log never arrived and are lost"

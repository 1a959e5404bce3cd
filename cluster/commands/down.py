"""``shortlist down``: stop the local stack."""

from __future__ import annotations

from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.console import Output


def down(state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Stop everything that `up` or `demo` started, and return once no process of it is left. Data stays."""
    output = Output(as_json=as_json)
    stack = stack_at(state_dir, output)
    if stack.state.in_use():
        with output.step("stopping"):
            stopped = stack.stop()
    else:
        stopped = stack.stop()
    if not stopped:
        output.tell(f"Nothing runs in {stack.state.root}")
    output.answer({"stopped": stopped, "state_dir": str(stack.state.root)})

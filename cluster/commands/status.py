"""``shortlist status``: what runs."""

from __future__ import annotations

import typer
from rich.table import Table

from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.console import Output
from cluster.errors import NotRunning
from cluster.status import extras, status_of


def status(state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Show every process: its pid, port, memory, and whether it works. Exit code 3 when nothing runs."""
    output = Output(as_json=as_json)
    stack = stack_at(state_dir, output)
    found, record = status_of(stack)
    document = found.model_dump()
    if record is None:
        output.answer(document)
        output.tell(f"No stack runs in {stack.state.root}. Start it with: shortlist up")
        raise typer.Exit(NotRunning.exit_code)
    if as_json:
        output.answer({**document, **extras(stack.state, record)})
        return
    table = Table(title=f"{found.url}  ({record.condition})", title_justify="left")
    for name in ("process", "pid", "port", "memory", "works"):
        table.add_column(name, justify="right" if name in {"pid", "port", "memory"} else "left")
    for row in found.processes:
        table.add_row(
            row.name,
            str(row.pid),
            str(row.port or ""),
            f"{row.rss_bytes / 1e6:.0f} MB",
            "[green]yes[/green]" if row.healthy else "[red]no[/red]",
        )
    output.result.print(table)
    option = "" if state_dir is None else f" --state-dir {state_dir}"
    lines = {
        "page": record.url,
        "dashboards": ", ".join(filter(None, (record.dashboard_url, record.training_dashboard_url))),
        "token": f"{stack.state.token} (the dashboards ask for it)",
        "database": f"shortlist psql{option}, shortlist psql --replica{option}",
        "cache": record.redis_url,
        "logs": str(stack.state.logs),
    }
    if record.rebuilds:
        lines["rebuilt"] = "; ".join(rebuild.summary for rebuild in record.rebuilds[-3:])
    for name, value in lines.items():
        output.result.print(f"{name:>10}  {value}", highlight=False)

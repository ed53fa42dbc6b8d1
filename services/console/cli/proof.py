"""Output of the proof of a replay."""

from typing import Any

import typer

from services.console.cli.output import print_table


def is_proven(operation: dict[str, Any]) -> bool:
    """Return True when the proof holds; also for a dry run, and for an operation without a proof."""
    return not operation["proof"] or operation["dryRun"] or operation["proof"]["unchanged"] is True


def held_back(operation: dict[str, Any]) -> int:
    """Return the number of selected events that the present routes hold back."""
    return operation["proof"]["heldBack"] if operation["proof"] else 0


def print_proof(proof: dict[str, Any]) -> None:
    """Print decisions, deliveries and checksums."""
    columns = ("type", "decision", "rule", "events")
    if proof["tallies"]:
        print_table(columns, [[tally[name] for name in columns] for tally in proof["tallies"]])
    if proof["outstanding"] is not None:
        counts = ", ".join(f"{proof[name]} {name}" for name in ("absorbed", "superseded", "handled"))
        typer.echo(f"deliveries: {counts}, {proof['outstanding']} outstanding")
    for state in proof["states"]:
        typer.echo(f"{state['service']} before: {state['checksumBefore']}")
        typer.echo(f"{state['service']} after:  {state['checksumAfter'] or 'not known'}{_change(state)}")
    if proof["unchanged"]:
        typer.echo("nothing changed")


def _change(state: dict[str, Any]) -> str:
    changes = [f"{each['table']} ({_rows(each)})" for each in state["changed"]]
    return f", changed: {', '.join(changes)}" if changes else ""


def _rows(change: dict[str, Any]) -> str:
    before, after = change["rowsBefore"], change["rowsAfter"]
    return f"{before} rows" if before == after else f"{before} rows, now {after}"

"""Follow an operation: progress, outcome, cancellation with Ctrl-C."""

import time
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from services.console.cli.client import ConsoleApi
from services.console.cli.output import print_json, print_table
from services.console.cli.proof import held_back, is_proven, print_proof

_POLL = 0.3
_INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""

_OUTCOMES = {"dead_letter": "dead letters again", "not_settled": "not settled yet", "unknown": "unknown"}

_DONE = {"redrive": "sent back", "discard": "discarded", "replay": "replayed"}


def follow(api: ConsoleApi, operation: dict[str, Any], as_json: bool) -> NoReturn:
    """Show the progress on a terminal, then the outcome. Ctrl-C cancels the operation and waits for its end.
    The exit code is 0 when all that was selected is done, nothing is a dead letter again and the proof holds;
    else 1; 130 after Ctrl-C."""
    is_interrupted = False
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"))
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bar = progress.add_task(operation["what"], counts="", total=None)
        while operation["status"] == "running":
            try:
                progress.update(bar, **_progress(operation))
                time.sleep(_POLL)
                operation = api.get(f"/api/operations/{operation['id']}")
            except KeyboardInterrupt:
                is_interrupted = True
                operation = api.post(f"/api/operations/{operation['id']}/cancel")
    if as_json:
        print_json(operation)
    else:
        _print(operation)
    if is_interrupted:
        raise SystemExit(_INTERRUPTED)
    is_done = operation["status"] == "done" and not operation["failed"] and not _died_again(operation)
    raise SystemExit(0 if is_done and is_proven(operation) else 1)


def _died_again(operation: dict[str, Any]) -> int:
    return int(operation["outcomes"].get("dead_letter", 0))


def _progress(operation: dict[str, Any]) -> dict[str, Any]:
    counts = f"{operation['done']} done, {operation['failed']} failed, {operation['lookedAt']} looked at"
    return {
        "completed": operation["lookedAt"],
        "total": max(operation["expected"], operation["lookedAt"]) or None,
        "counts": counts,
    }


def _print(operation: dict[str, Any]) -> None:
    selected, looked_at = operation["selected"] - held_back(operation), operation["lookedAt"]
    if operation["dryRun"]:
        typer.echo(f"dry run: {selected} of {looked_at} scanned would be {_DONE[operation['what']]}")
        shown = operation["listed"]
    else:
        done, failed = operation["done"], operation["failed"]
        typer.echo(f"{operation['status']}: {done} of {selected} {_DONE[operation['what']]}, {failed} failed")
        shown = [each for each in operation["listed"] if each["error"]]
    if outcomes := operation["outcomes"]:
        words = (f"{count} {_OUTCOMES.get(outcome, outcome)}" for outcome, count in sorted(outcomes.items()))
        typer.echo(f"their outcomes: {', '.join(words)}")
    if operation["proof"]:
        print_proof(operation["proof"])
    if operation["error"]:
        typer.echo(f"note: {operation['error']}")
    if shown:
        print_table(
            ("id", "type", "order", "error"),
            [(each["id"], each["type"], each["orderId"], each["error"]) for each in shown],
        )

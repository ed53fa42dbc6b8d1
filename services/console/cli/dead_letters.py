"""Dead letters: browse, redrive or discard messages that could not be handled."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from services.console.cli.client import HERE, Url, console_at, refuse
from services.console.cli.following import follow
from services.console.cli.output import AsJson, moment, print_json, print_table, warn
from services.console.cli.selecting import (
    All,
    DryRun,
    Error,
    Ids,
    Order,
    PerSecond,
    Type,
    selection,
)

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

Queue = Annotated[str, typer.Option(help="The dead-letter queue, or the queue that it serves.")]


@cli.command("list")
def list_(
    queue: Annotated[str | None, typer.Option(help="By default all queues.", show_default=False)] = None,
    event_type: Type = None,
    order: Order = None,
    error: Error = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Maximum number for each queue.")] = 50,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Print the dead letters, newest first. They are not consumed, only hidden for a moment."""
    with console_at(url) as api:
        wanted = {"queue": queue, "type": event_type, "orderId": order, "error": error, "limit": limit}
        found = api.get("/api/dead-letters", **wanted)
    if as_json:
        print_json(found)
        return
    for scan in found["queues"]:
        if scan["incomplete"]:
            warn(f"{scan['queue']}: {scan['incomplete']}")
    columns = ("id", "queue", "type", "order", "since", "receives", "reason")
    print_table(columns, [_row(letter) for letter in found["letters"]])


@cli.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID")],
    body: Annotated[bool, typer.Option("--body", help="Print only the body, to correct it.")] = False,
    url: Url = HERE,
) -> None:
    """Print one dead letter with all its details."""
    with console_at(url) as api:
        letters = api.get("/api/dead-letters", ids=letter_id)["letters"]
    if not letters:
        refuse(f"no dead letter has the id {letter_id}")
    if body:
        typer.echo(letters[0]["body"])
    else:
        print_json(letters[0])


@cli.command()
def redrive(
    queue: Queue,
    ids: Ids = None,
    event_type: Type = None,
    order: Order = None,
    error: Error = None,
    everything: All = False,
    dry_run: DryRun = False,
    per_second: PerSecond = None,
    body: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Body that replaces the message's.")
    ] = None,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to their queue. Ctrl-C stops it between two messages."""
    selected = selection(ids, event_type, order, error, everything)
    command = _command(queue, selected, dry_run, per_second)
    if body is not None:
        command["body"] = _text(body)
    with console_at(url) as api:
        follow(api, api.post("/api/dead-letters/redrive", command), as_json)


@cli.command()
def discard(
    queue: Queue,
    ids: Ids = None,
    event_type: Type = None,
    order: Order = None,
    error: Error = None,
    everything: All = False,
    dry_run: DryRun = False,
    per_second: PerSecond = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters. Their events stay in the log of the service that published them."""
    selected = selection(ids, event_type, order, error, everything)
    if not (yes or dry_run):
        _confirm(f"delete dead letters of {queue} for good?")
    with console_at(url) as api:
        command = _command(queue, selected, dry_run, per_second)
        follow(api, api.post("/api/dead-letters/discard", command), as_json)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        refuse("no terminal to confirm on: pass --yes to delete them for good")
    typer.confirm(question, abort=True, err=True)


def _command(queue: str, selected: dict[str, Any], dry_run: bool, per_second: float | None) -> dict[str, Any]:
    return {"queue": queue, "selection": selected, "dryRun": dry_run, "perSecond": per_second}


def _row(letter: dict[str, Any]) -> tuple[object, ...]:
    names = ("id", "queue", "type", "orderId", "receiveCount", "reason")
    letter_id, queue, event_type, order, receives, reason = (letter[name] for name in names)
    return letter_id, queue, event_type, order, moment(letter["sentAt"]), receives, reason


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"{file} cannot be read as text: {error}")

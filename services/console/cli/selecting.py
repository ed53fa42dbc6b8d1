"""Options that select messages or events."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from services.console.cli.client import refuse

Ids = Annotated[list[str] | None, typer.Option("--id", help="Id from the list, or of an event. Repeatable.")]
Type = Annotated[str | None, typer.Option("--type", help="The event's type.")]
Order = Annotated[str | None, typer.Option(help="The order's id.")]
Since = Annotated[str | None, typer.Option("--from", help="Time, as 2021-07-17T23:59:59Z.")]
Until = Annotated[str | None, typer.Option("--to", help="Time, exclusive.")]
Error = Annotated[str | None, typer.Option(help="Text that the error contains.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only report what would be done.")]
PerSecond = Annotated[float | None, typer.Option(help="Maximum rate per second.")]


def selection(
    ids: list[str] | None, event_type: str | None, order: str | None, error: str | None, everything: bool
) -> dict[str, Any]:
    """Return the given criteria; end the process when there is none."""
    given = {"ids": ids, "type": event_type, "orderId": order, "error": error, "all": everything}
    return given_of(given, "--id, --type, --order or --error")


def event_selection(
    ids: list[str] | None,
    event_type: str | None,
    order: str | None,
    since: str | None,
    until: str | None,
    everything: bool,
) -> dict[str, Any]:
    """Return the given criteria for events; end the process when there is none."""
    given = {"ids": ids, "type": event_type, "orderId": order, "from": since, "to": until, "all": everything}
    return given_of(given, "--id, --type, --order, --from or --to")


def given_of(criteria: Mapping[str, Any], choice: str) -> dict[str, Any]:
    """Return the given criteria; end the process when there is none. `choice` names the options."""
    given = {name: value for name, value in criteria.items() if value}
    if not given:
        refuse(f"no selection: pass {choice}, or --all for all of them")
    return given

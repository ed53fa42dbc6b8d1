"""Replay on the command line."""

from typing import Annotated

import typer

from services.console.cli.client import HERE, Url, console_at
from services.console.cli.following import follow
from services.console.cli.output import AsJson
from services.console.cli.selecting import (
    All,
    DryRun,
    Ids,
    Order,
    PerSecond,
    Since,
    Type,
    Until,
    event_selection,
)


def replay(
    service: Annotated[str, typer.Option(help="Service that published the events.")] = "order",
    ids: Ids = None,
    event_type: Type = None,
    order: Order = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: DryRun = False,
    per_second: PerSecond = None,
    wait: Annotated[float, typer.Option(help="Maximum seconds without a settled delivery.")] = 60.0,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Send events again that were sent before, and prove that it changed nothing.

    The exit code is 1 when it did. What is held back by the routes of now is not sent. Ctrl-C ends it.
    """
    command = {
        "service": service,
        "selection": event_selection(ids, event_type, order, since, until, everything),
        "dryRun": dry_run,
        "perSecond": per_second,
        "waitSeconds": wait,
    }
    with console_at(url) as api:
        follow(api, api.post("/api/replay", command), as_json)

"""Parked events: list or resubmit events that failed too often."""

from typing import Annotated

import typer

from services.console.cli.client import HERE, Url, console_at
from services.console.cli.output import AsJson, moment, print_json, print_table, warn_of_gaps
from services.console.cli.selecting import All, DryRun, Error, Ids, Order, Type, selection

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


@cli.command("list")
def list_(
    service: Annotated[str | None, typer.Option(help="By default all.", show_default=False)] = None,
    event_type: Type = None,
    order: Order = None,
    error: Error = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Maximum number for each service.")] = 100,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Print the parked events by service, those first that were parked first."""
    wanted = {"service": service, "type": event_type, "orderId": order, "error": error, "limit": limit}
    with console_at(url) as api:
        found = api.get("/api/parked", **wanted)
    warn_of_gaps(found["gaps"])
    if as_json:
        print_json(found)
        return
    names = ("id", "service", "type", "subject", "attempts")
    rows = [
        (*(each[name] for name in names), moment(each["parkedAt"]), each["lastError"])
        for each in found["events"]
    ]
    print_table(("id", "service", "type", "order", "attempts", "parked", "error"), rows)


@cli.command()
def resubmit(
    service: Annotated[str, typer.Option(help="order or scm")],
    ids: Ids = None,
    event_type: Type = None,
    order: Order = None,
    error: Error = None,
    everything: All = False,
    dry_run: DryRun = False,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Relay up to 1,000 parked events again, with a new count of attempts."""
    selected = selection(ids, event_type, order, error, everything)
    with console_at(url) as api:
        command = {"service": service, "selection": selected, "dryRun": dry_run}
        resubmitted = api.post("/api/parked/resubmit", command)["ids"]
    if as_json:
        print_json(resubmitted)
    else:
        typer.echo(f"{'dry run: would resubmit' if dry_run else 'resubmitted'} {len(resubmitted)}")
        for event_id in resubmitted:
            typer.echo(event_id)

"""Held-back events: release those that no route matched, after a new route."""

from typing import Annotated

import typer

from services.console.cli.client import HERE, Url, console_at
from services.console.cli.output import AsJson, print_json, print_table
from services.console.cli.selecting import All, DryRun, Ids, Order, Since, Type, Until, event_selection

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


@cli.callback()
def _group() -> None:
    """Keep `release` a command of its own."""


@cli.command()
def release(
    service: Annotated[str, typer.Option(help="Service that published the events.")],
    rule: Annotated[str, typer.Option(help="Rule that held them back.")] = "no-route",
    ids: Ids = None,
    event_type: Type = None,
    order: Order = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: DryRun = False,
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Let up to 1,000 events be decided again by the present routes, those published first."""
    selection = event_selection(ids, event_type, order, since, until, everything)
    command = {"service": service, "rule": rule, "selection": selection, "dryRun": dry_run}
    with console_at(url) as api:
        released = api.post("/api/held-back/release", command)
    if as_json:
        print_json(released)
        return
    typer.echo(f"{'dry run: would release' if dry_run else 'released'} {released['events']}")
    if released["decisions"]:
        names = ("type", "decision", "rule", "events")
        print_table(names, [[each[name] for name in names] for each in released["decisions"]])

"""What was done to the messages, and what is being done."""

from typing import Annotated

import typer

from services.console.cli.client import HERE, Url, console_at
from services.console.cli.following import follow
from services.console.cli.output import AsJson, moment, print_json, print_table

operations = typer.Typer(
    help="Redrives, discards and replays that run, or ran last.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@operations.command("list")
def list_(url: Url = HERE, as_json: AsJson = False) -> None:
    """Print the last hundred, newest first."""
    with console_at(url) as api:
        found = api.get("/api/operations")
    if as_json:
        print_json(found)
        return
    names = ("id", "what", "who", "on", "status", "selected", "done", "failed")
    rows = [(*(each[name] for name in names), moment(each["beganAt"])) for each in found]
    print_table((*names, "began"), rows)


@operations.command()
def cancel(
    operation_id: Annotated[str, typer.Argument(metavar="ID")], url: Url = HERE, as_json: AsJson = False
) -> None:
    """End one after what it has begun."""
    with console_at(url) as api:
        follow(api, api.post(f"/api/operations/{operation_id}/cancel"), as_json)


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50, url: Url = HERE, as_json: AsJson = False
) -> None:
    """Print who did what to the messages, newest first."""
    with console_at(url) as api:
        records = api.get("/api/audit", limit=limit)
    if as_json:
        print_json(records)
        return
    names = ("who", "what", "step", "on", "done", "failed", "operation")
    rows = [(moment(each["at"]), *(each.get(name) for name in names)) for each in records]
    print_table(("at", *names), rows)

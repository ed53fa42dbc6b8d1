"""Operations and the audit on the command line."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from services.console.cli.client import HERE, ConsoleApi, Url, console_at
from services.console.cli.following import follow
from services.console.cli.output import AsJson, moment, print_json, print_json_line, print_table

_PAGE_SIZE = 1_000

Export = Annotated[bool, typer.Option("--export", help="Print all records, as lines of JSON.")]

operations = typer.Typer(
    help="Redrives, discards and replays.", no_args_is_help=True, pretty_exceptions_enable=False
)


@operations.command("list")
def list_(url: Url = HERE, as_json: AsJson = False, export: Export = False) -> None:
    """Print the last hundred operations, newest first."""
    with console_at(url) as api:
        if export:
            for operation in _all_pages(api, "/api/operations", "id"):
                print_json_line(operation)
            return
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
    """Cancel an operation; what it has begun is finished."""
    with console_at(url) as api:
        follow(api, api.post(f"/api/operations/{operation_id}/cancel"), as_json)


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50,
    url: Url = HERE,
    as_json: AsJson = False,
    export: Export = False,
) -> None:
    """Print what operators did to the messages, newest first; an export is oldest first."""
    with console_at(url) as api:
        if export:
            for record in _all_pages(api, "/api/audit", "position", oldestFirst=True):
                print_json_line(record)
            return
        records = api.get("/api/audit", limit=limit)
    if as_json:
        print_json(records)
        return
    names = ("who", "what", "step", "on", "done", "failed", "operation")
    rows = [(moment(each["at"]), *(each.get(name) for name in names)) for each in records]
    print_table(("at", *names), rows)


def _all_pages(api: ConsoleApi, path: str, cursor: str, **query: Any) -> Iterator[dict[str, Any]]:
    after = None
    while page := api.get(path, limit=_PAGE_SIZE, after=after, **query):
        yield from page
        after = page[-1][cursor]

"""Listeners: list, pause or resume the listeners of all services."""

from typing import Annotated, Any

import typer

from services.console.cli.client import HERE, Url, console_at
from services.console.cli.output import AsJson, moment, print_json, print_table, warn_of_gaps

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

Service = Annotated[str, typer.Argument(help="Name of the service, as in the list.")]
Queue = Annotated[str, typer.Argument(help="Name of the queue, as in the list.")]


@cli.command("list")
def list_(url: Url = HERE, as_json: AsJson = False) -> None:
    """Print the listeners of all services."""
    with console_at(url) as api:
        found = api.get("/api/listeners")
    warn_of_gaps(found["gaps"])
    if as_json:
        print_json(found)
    else:
        _print(found["listeners"])


@cli.command()
def pause(service: Service, queue: Queue, url: Url = HERE, as_json: AsJson = False) -> None:
    """Receive nothing more from a queue, on all instances, until it is resumed; also after a restart."""
    _change("pause", service, queue, url, as_json)


@cli.command()
def resume(service: Service, queue: Queue, url: Url = HERE, as_json: AsJson = False) -> None:
    """Receive from a queue again."""
    _change("resume", service, queue, url, as_json)


def _change(what: str, service: str, queue: str, url: str, as_json: bool) -> None:
    with console_at(url) as api:
        listener = api.post(f"/api/listeners/{service}/{queue}/{what}")
    if as_json:
        print_json(listener)
    else:
        _print([listener])


def _print(listeners: list[dict[str, Any]]) -> None:
    names = ("service", "queue", "status", "trouble", "pausedBy")
    rows = [(*(each[name] for name in names), moment(each["pausedAt"])) for each in listeners]
    print_table(("service", "queue", "status", "trouble", "by", "since"), rows)

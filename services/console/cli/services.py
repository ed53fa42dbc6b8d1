"""Services: list the registered services and their instances, or remove one that no longer exists."""

from typing import Annotated, Any

import typer

from services.console.cli.client import HERE, Url, console_at
from services.console.cli.output import AsJson, moment, print_json, print_table

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


@cli.command("list")
def list_(url: Url = HERE, as_json: AsJson = False) -> None:
    """Print the instances of all services."""
    with console_at(url) as api:
        found = api.get("/api/services")
    if as_json:
        print_json(found)
        return
    rows = [_row(service["name"], each) for service in found for each in service["instances"]]
    print_table(("service", "instance", "state", "version", "url", "renewed"), rows)


def _row(service: str, instance: dict[str, Any]) -> tuple[str, ...]:
    about = instance["registration"]
    renewed = moment(instance["renewedAt"])
    return service, about["instance"], instance["state"], about["version"], about["url"], renewed


@cli.command()
def remove(
    service: Annotated[str, typer.Argument(help="Name of the service, as in the list.")], url: Url = HERE
) -> None:
    """Remove a service whose instances have all stopped. Queues that are still subscribed become foreign."""
    with console_at(url) as api:
        api.delete(f"/api/services/{service}")
    typer.echo(f"{service} removed")

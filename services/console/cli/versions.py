"""Versions: list or repair the newest version of an order that each consumer has handled."""

from typing import Annotated

import typer

from services.console.cli.client import HERE, Url, console_at
from services.console.cli.output import AsJson, print_json, print_table, warn_of_gaps

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

Order = Annotated[str, typer.Option(help="The order's id.")]


@cli.command("list")
def list_(order: Order, url: Url = HERE, as_json: AsJson = False) -> None:
    """Print the newest handled versions of an order by service, queue and source."""
    with console_at(url) as api:
        found = api.get("/api/handled-versions", orderId=order)
    warn_of_gaps(found["gaps"])
    if as_json:
        print_json(found)
        return
    names = ("service", "consumer", "source", "version")
    rows = [[each[name] for name in names] for each in found["versions"]]
    print_table(("service", "queue", "source", "version"), rows)


@cli.command()
def repair(
    service: Annotated[str, typer.Option(help="Service that consumes the queue.")],
    queue: Annotated[str, typer.Option(help="Name of the queue, as in the list.")],
    order: Order,
    version: Annotated[int, typer.Option(min=0, help="The next message with a greater one is handled.")],
    source: Annotated[str, typer.Option(help="Service that publishes, as in the list; may be empty.")],
    url: Url = HERE,
    as_json: AsJson = False,
) -> None:
    """Set the newest handled version of an order. Then replay the order's events."""
    command = {"service": service, "queue": queue, "orderId": order, "version": version, "source": source}
    with console_at(url) as api:
        repaired = api.post("/api/handled-versions/repair", command)
    if as_json:
        print_json(repaired)
    else:
        before = "unknown" if repaired["before"] is None else repaired["before"]
        typer.echo(f"order {order} at {queue}: version {before} → {repaired['after']}")

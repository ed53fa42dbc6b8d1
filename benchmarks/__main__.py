"""`make bench`: what the library costs, against the bare floor, on one machine and one local server.

The server is the bottleneck on a small machine, so what counts most is the client's CPU per message.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.figure import Figure
from benchmarks.listener import listener
from benchmarks.publisher import publisher
from benchmarks.server import aws_server

RESULTS = Path(".local") / "bench.json"

Benchmark = Callable[[str], Awaitable[list[Figure]]]
"""Is given the URL of an SNS/SQS server."""

BENCHMARKS: dict[str, Benchmark] = {each.__name__: each for each in (listener, publisher)}

cli = typer.Typer(add_completion=False, help=__doc__)


@cli.command()
def bench(
    only: Annotated[list[str] | None, typer.Option(help=", ".join(BENCHMARKS))] = None,
) -> None:
    """Print a table, and write it to .local/bench.json."""
    figures = asyncio.run(_measured(only or list(BENCHMARKS)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([{**asdict(each), "ratio": each.ratio} for each in figures], indent=2))
    Console().print(_table(figures))
    print(f"written to {RESULTS}")


async def _measured(names: list[str]) -> list[Figure]:
    figures = []
    async with aws_server() as url:
        for name in names:
            print(f"  {name}", file=sys.stderr)
            figures += await BENCHMARKS[name](url)
    return figures


def _table(figures: list[Figure]) -> Table:
    table = Table(title="Ours against the bare floor", title_justify="left")
    for column in ("", "", "ours", "bare", "ratio", "target"):
        table.add_column(column, justify="left" if not column else "right")
    for each in figures:
        colour = "" if each.is_met else "red"
        ratio = f"{each.ratio:.2f}" if each.ratio is not None else ""
        bare = f"{each.bare:.4g}" if each.bare is not None else ""
        table.add_row(each.name, each.unit, f"{each.ours:.4g}", bare, ratio, each.target, style=colour)
    return table


if __name__ == "__main__":
    cli()

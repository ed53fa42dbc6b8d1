"""`make bench`: cost of the system and its library, compared with the bare floor, on one machine.

The server is the bottleneck on a small machine, so the client's CPU per message is the main figure.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.child import log_warnings_only
from benchmarks.figure import Figure
from benchmarks.flow import flow
from benchmarks.growth import growth
from benchmarks.idle import idle
from benchmarks.latency import latency
from benchmarks.listener import listener
from benchmarks.live import live
from benchmarks.memory import memory
from benchmarks.publisher import publisher
from benchmarks.relay import relay
from benchmarks.rest import rest

RESULTS = Path(".local") / "bench.json"

Benchmark = Callable[[], Awaitable[list[Figure]]]

USUAL: list[Benchmark] = [listener, publisher, latency, idle, rest, flow]
LONG: list[Benchmark] = [memory, relay, growth, live]

BENCHMARKS = {each.__name__: each for each in USUAL + LONG}

cli = typer.Typer(add_completion=False, help=__doc__)


@cli.command()
def bench(
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"Repeatable: {', '.join(BENCHMARKS)}.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Those that take many minutes as well.")] = False,
) -> None:
    """Print a table, and write it to .local/bench.json."""
    if unknown := set(only or ()) - set(BENCHMARKS):
        raise typer.BadParameter(f"there is no benchmark {', '.join(unknown)}", param_hint="--only")
    log_warnings_only()
    chosen = [BENCHMARKS[name] for name in only] if only else USUAL + LONG if full else USUAL
    figures = asyncio.run(_measured(chosen))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([{**asdict(each), "ratio": each.ratio} for each in figures], indent=2))
    Console().print(_table(figures))
    print(f"written to {RESULTS}")


async def _measured(benchmarks: Sequence[Benchmark]) -> list[Figure]:
    figures = []
    for benchmark in benchmarks:
        print(f"  {benchmark.__name__}", file=sys.stderr)
        figures += await benchmark()
    return figures


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(title="Ours, against what is written by hand", title_justify="left")
    for column in ("", "unit", "ours", "against", "ratio", "target"):
        is_text = column in ("", "unit")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=column != "")
    for each in figures:
        numbers = [_short(number) for number in (each.ours, each.against, each.ratio)]
        table.add_row(each.name, each.unit, *numbers, each.target, style="" if each.is_met else "red")
    return table


def _short(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.2f}" if abs(number) < 100 else f"{number:,.0f}"


if __name__ == "__main__":
    cli()

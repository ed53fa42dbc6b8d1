"""Output of the commands: tables or JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_WIDE = 10_000


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def print_json_line(value: Any) -> None:
    typer.echo(json.dumps(value, separators=(",", ":")))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print one line per row; on a terminal, long texts are folded."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(table)


def moment(time: str | None) -> str:
    """Format a time of the API to the second, in UTC."""
    return "" if time is None else f"{time[:10]} {time[11:19]}"


def warn(text: str) -> None:
    typer.echo(f"warning: {text}", err=True)


def warn_of_gaps(gaps: Iterable[dict[str, str]]) -> None:
    """Print a warning for each service that did not answer."""
    for gap in gaps:
        warn(gap["reason"])

"""The rules that decide which events leave: check them, ask them about an event, try a change of them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from services.adapter.routes.file import RouteFile, RoutesInvalid
from services.adapter.routes.finding import Finding
from services.adapter.settings import RoutesSettings
from shared.settings import load

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

File = Annotated[Path | None, typer.Argument(help="By default ROUTES_FILE, or the service's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

SERVICE = "adapter"


@cli.command()
def check(file: File = None, as_json: AsJson = False) -> None:
    """Print every error and warning of a route file; exit code 1 if there is an error, else 0.

    The exit code is 2 when the file cannot be read."""
    with _refusals():
        found = RouteFile.open(file or load(RoutesSettings, SERVICE).routes_file)
    if as_json:
        _print_json(file=found.name, errors=found.errors, warnings=found.warnings)
    else:
        _print_findings(found)
    raise SystemExit(1 if found.errors else 0)


def _print_findings(found: RouteFile) -> None:
    for findings, level, style in (
        (found.errors, "error", "bold red"),
        (found.warnings, "warning", "yellow"),
    ):
        for finding in findings:
            place = (f"{found.name}:{finding.line}: ", "bold")
            _print(Text.assemble(place, (f"{level}: ", style), str(finding)))
    counts = f"{_count(found.errors, 'error')}, {_count(found.warnings, 'warning')}"
    _print(Text(f"{found.name}: {counts}", "green" if not found.errors else ""))


def _count(findings: Sequence[Finding], name: str) -> str:
    return f"{len(findings) or 'no'} {name}{'' if len(findings) == 1 else 's'}"


def _print(text: Text) -> None:
    """A line stays a line, however narrow the terminal is: it is read by editors and by grep."""
    Console(soft_wrap=True, highlight=False).print(text)


def _print_json(**members: Any) -> None:
    typer.echo(json.dumps(members, indent=2, default=lambda model: model.model_dump(mode="json")))


@contextmanager
def _refusals() -> Iterator[None]:
    """Ends the process with exit code 2 where the question cannot be answered."""
    try:
        yield
    except RoutesInvalid as error:
        _refuse(error)


def _refuse(reason: object) -> NoReturn:
    for line in str(reason).splitlines():
        typer.echo(f"error: {line}", err=True)
    raise SystemExit(2)

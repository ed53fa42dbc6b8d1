"""The rules that decide which events leave: check them, ask them about an event, try a change of them."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import ValidationError
from snsqs import WireModel

from services.adapter.cloud_event import CloudEvent, why_not
from services.adapter.routes import printed
from services.adapter.routes.dry_run import dry_run
from services.adapter.routes.explanation import explain
from services.adapter.routes.file import RouteFile, RoutesInvalid
from services.adapter.routes.finding import Finding
from services.adapter.routes.recorded import newest
from services.adapter.settings import RoutesSettings
from shared.runtime.service_client import ServiceClient, ServiceUnavailable
from shared.runtime.settings import load
from shared.runtime.tokens import bearer

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RoutesOption = Annotated[
    Path | None, typer.Option("--routes", help="A route file; by default ROUTES_FILE, or the service's own.")
]

_EVENTS_OF_AN_ORDER = 500


class Checked(WireModel):
    """What `check --json` prints."""

    file: str
    errors: Sequence[Finding]
    warnings: Sequence[Finding]


class NoSuchEvent(Exception):
    """There is no event to be explained. The message says where it was looked for."""


@cli.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="By default ROUTES_FILE, or the service's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every error and warning of a route file; exit code 1 if there is an error, else 0.

    The exit code is 2 when the file cannot be read."""
    with _refusals():
        found = RouteFile.open(file or _settings().routes_file)
    if as_json:
        _print_json(Checked(file=found.name, errors=found.errors, warnings=found.warnings))
    else:
        printed.findings(found)
    raise SystemExit(1 if found.errors else 0)


@cli.command("explain")
def explain_event(
    event: Annotated[Path | None, typer.Argument(help="A CloudEvent, JSON; - is standard input.")] = None,
    order: Annotated[str, typer.Option(help="Instead of EVENT: the newest event of this order.")] = "",
    type: Annotated[str, typer.Option(help="The newest one of this type.")] = "",
    event_id: Annotated[str, typer.Option("--event", help="The one with this id.")] = "",
    routes: RoutesOption = None,
    as_json: AsJson = False,
) -> None:
    """Say which rule decides about an event, why not the others, and what goes out of it; nothing is sent.

    Events of an order are read at ORDER_URL and SCM_URL with the SERVICE_TOKEN. The exit code is 1 when the
    event would fail, 2 when there is no event to explain, else 0."""
    with _refusals():
        used = RouteFile.open(routes or _settings().routes_file).usable()
        given = asyncio.run(_of_order(order, type, event_id)) if order else _event_in(event)
    explanation = explain(used, given)
    if as_json:
        _print_json(explanation)
    else:
        printed.explanation(given, explanation)
    raise SystemExit(1 if explanation.decision == "failed" else 0)


@cli.command("dry-run")
def try_file(
    file: Annotated[Path, typer.Argument(help="The changed route file.")],
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many events, the newest.")] = 100,
    routes: RoutesOption = None,
    as_json: AsJson = False,
) -> None:
    """Say what a changed route file would do to the last real events; nothing is sent.

    They are read at ORDER_URL and SCM_URL with the SERVICE_TOKEN. The exit code is 1 when anything would
    change, 2 when it could not be tried, else 0."""
    with _refusals():
        before = RouteFile.open(routes or _settings().routes_file).usable()
        after = RouteFile.open(file).usable()
        tried = dry_run(before, after, asyncio.run(_newest(last)))
    if as_json:
        _print_json(tried)
    else:
        printed.dry_run(tried)
    raise SystemExit(1 if tried.changes else 0)


async def _newest(last: int, **asked: str) -> list[CloudEvent]:
    settings = _settings()
    urls = {"order": settings.order_url, "scm": settings.scm_url}
    shown = bearer(settings.service_token)
    async with httpx.AsyncClient() as http:
        services = [ServiceClient(name, url, http, shown) for name, url in urls.items()]
        return await newest(services, last, **asked)


async def _of_order(order: str, event_type: str, event_id: str) -> CloudEvent:
    asked = {"orderId": order} | ({"type": event_type} if event_type else {})
    for event in await _newest(_EVENTS_OF_AN_ORDER, **asked):
        if event_id in ("", event.id):
            return event
    what = " ".join(["event", *filter(None, (event_id, event_type and f"of type {event_type}"))])
    raise NoSuchEvent(f"neither service has published an {what} of order {order}")


def _event_in(file: Path | None) -> CloudEvent:
    if file is None:
        raise NoSuchEvent("name a file with a CloudEvent, - for standard input, or --order ID")
    try:
        return CloudEvent.model_validate_json(sys.stdin.read() if str(file) == "-" else file.read_text())
    except OSError as error:
        raise NoSuchEvent(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        raise NoSuchEvent(f"{file}: {why_not(error)}") from error


def _settings() -> RoutesSettings:
    return load(RoutesSettings, "adapter")


def _print_json(answer: WireModel) -> None:
    typer.echo(json.dumps(answer.model_dump(mode="json"), indent=2))


@contextmanager
def _refusals() -> Iterator[None]:
    """Ends the process with exit code 2 where there is no answer, with a line for every reason."""
    try:
        yield
    except (RoutesInvalid, NoSuchEvent, ServiceUnavailable) as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        raise SystemExit(2) from None

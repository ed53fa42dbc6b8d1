"""Check the rules that decide which events leave, explain a decision, try a changed file."""

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

from services.adapter.cloud_event import CloudEvent, describe_errors
from services.adapter.routes import printed
from services.adapter.routes.dry_run import DryRun, dry_run
from services.adapter.routes.explanation import explain
from services.adapter.routes.file import RouteFile, RoutesInvalid
from services.adapter.routes.finding import Finding
from services.adapter.routes.recorded import EventLogs
from services.adapter.settings import DryRunSettings, RoutesSettings
from shared.runtime.service_client import RequestRejected, ServiceClient, ServiceUnavailable
from shared.runtime.settings import load
from shared.runtime.tokens import bearer

cli = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RoutesOption = Annotated[
    Path | None, typer.Option("--routes", help="A route file; by default ROUTES_FILE, or the service's own.")
]

_MAX_EVENTS_OF_AN_ORDER = 500


class Checked(WireModel):
    """Output of `check --json`."""

    file: str
    errors: Sequence[Finding]
    warnings: Sequence[Finding]


class NoSuchEvent(Exception):
    """There is no event to explain. The message names the place where it was searched."""


@cli.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="By default ROUTES_FILE, or the service's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print every error and warning of a route file; exit code 1 if there is an error, else 0.

    The exit code is 2 when the file cannot be read."""
    with _exit_on_refusal():
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
    """Print the rule that decides on an event, the reasons of all rules, and the message. Publishes nothing.

    Events of an order are read from ORDER_URL and SCM_URL with the SERVICE_TOKEN. The exit code is 1 when the
    event would fail, 2 when there is no event to explain, else 0."""
    with _exit_on_refusal():
        used = RouteFile.open(routes or _settings().routes_file).usable()
        subject = asyncio.run(_find_event(order, type, event_id)) if order else _read_event(event)
    explanation = explain(used, subject)
    if as_json:
        _print_json(explanation)
    else:
        printed.explanation(subject, explanation)
    raise SystemExit(1 if explanation.decision == "failed" else 0)


@cli.command("dry-run")
def try_file(
    file: Annotated[Path, typer.Argument(help="The changed route file.")],
    last: Annotated[int, typer.Option(min=1, max=1_000, help="Number of events: the newest.")] = 100,
    routes: Annotated[
        Path | None, typer.Option("--routes", help="Compare with this file instead of the running adapter.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the effect of a changed route file on the last recorded events. Publishes nothing.

    It is compared with the routes of the adapter that runs at ADAPTER_URL, with the OPERATOR_TOKEN. With
    --routes, the events are read from ORDER_URL and SCM_URL with the SERVICE_TOKEN. The exit code is 1 when
    anything would change, 2 when it could not be tried, else 0."""
    with _exit_on_refusal():
        changed = RouteFile.open(file)
        after = changed.usable()
        if routes is None:
            result = asyncio.run(_dry_run_at_adapter(file.read_text("utf-8"), last))
        else:
            result = dry_run(RouteFile.open(routes).usable(), after, asyncio.run(_newest(last)))
    if as_json:
        _print_json(result)
    else:
        printed.dry_run(result)
    raise SystemExit(1 if result.changes else 0)


async def _dry_run_at_adapter(text: str, last: int) -> DryRun:
    settings = load(DryRunSettings, "adapter")
    async with httpx.AsyncClient() as http:
        adapter = ServiceClient("adapter", settings.adapter_url, http, bearer(settings.operator_token))
        answer = await adapter.send("POST", "/api/routes/dry-run", {"toml": text, "last": last})
    return DryRun.model_validate(answer)


async def _newest(limit: int, **query: str) -> list[CloudEvent]:
    settings = _settings()
    urls = {"order": settings.order_url, "scm": settings.scm_url}
    headers = bearer(settings.service_token)
    async with httpx.AsyncClient() as http:
        services = [ServiceClient(name, url, http, headers) for name, url in urls.items()]
        return await EventLogs(services).newest(limit, **query)


async def _find_event(order: str, event_type: str, event_id: str) -> CloudEvent:
    query = {"orderId": order} | ({"type": event_type} if event_type else {})
    for event in await _newest(_MAX_EVENTS_OF_AN_ORDER, **query):
        if event_id in ("", event.id):
            return event
    what = " ".join(["event", *filter(None, (event_id, event_type and f"of type {event_type}"))])
    raise NoSuchEvent(f"neither service has published an {what} of order {order}")


def _read_event(file: Path | None) -> CloudEvent:
    if file is None:
        raise NoSuchEvent("name a file with a CloudEvent, - for standard input, or --order ID")
    try:
        return CloudEvent.model_validate_json(sys.stdin.read() if str(file) == "-" else file.read_text())
    except OSError as error:
        raise NoSuchEvent(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        raise NoSuchEvent(f"{file}: {describe_errors(error)}") from error


def _settings() -> RoutesSettings:
    return load(RoutesSettings, "adapter")


def _print_json(answer: WireModel) -> None:
    typer.echo(json.dumps(answer.model_dump(mode="json"), indent=2))


@contextmanager
def _exit_on_refusal() -> Iterator[None]:
    """Exit with code 2, and a line for every reason, when a command cannot answer."""
    try:
        yield
    except (RoutesInvalid, NoSuchEvent, ServiceUnavailable, RequestRejected) as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        raise SystemExit(2) from None

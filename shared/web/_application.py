"""FastAPI application that every service starts from."""

import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest
from snsqs.postgres import DatabaseUnavailable
from snsqs.tracing import context_of
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.runtime.background import BackgroundLoops
from shared.runtime.browser_requests import LOOPBACK_HOSTS
from shared.runtime.settings import ServiceSettings
from shared.runtime.telemetry import export_metrics, tracer
from shared.runtime.tokens import NamedToken
from shared.web._access import Access, authenticate
from shared.web._components import Components, components
from shared.web._docs import add_docs
from shared.web._openapi import DocumentedProblems, operation_id
from shared.web._problem import add_problem_handlers
from shared.web._request_guard import RequestGuard
from shared.web._request_limits import HEALTH, RequestLimits

log = structlog.get_logger(__name__)

_QUIET = HEALTH | {"/metrics"}
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""Methods with a label of their own; a client can send any."""
_SECONDS = Histogram(
    "http_request_seconds", "Seconds from request to response.", ["method", "route", "status"]
)
_seconds_of = functools.cache(_SECONDS.labels)

_NOT_CACHED = (b"cache-control", b"no-store")
"""Of responses without a header of their own: most contain personal data or change all the time."""

# FastAPI's own tracing adds three spans per request, half the cost of a read.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Gauges:
    """Gauges of an application whose values have to be queried."""

    updates: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Awaited in turn before `/metrics` is rendered. One that raises DatabaseUnavailable is skipped."""


def application(
    *,
    title: str,
    description: str,
    lifespan: Lifespan,
    settings: ServiceSettings | None = None,
    body_limits: Mapping[str, int] = MappingProxyType({}),
    partner_tokens: Mapping[str, Sequence[NamedToken]] = MappingProxyType({}),
) -> FastAPI:
    """Return an application with the error responses, limits and metrics that all services share.

    `body_limits` are the sizes in bytes of the largest request bodies of paths that need more than 64 KiB,
    `partner_tokens` the tokens of partners by their role (see `partner_access`). Its components (see
    Components) are BackgroundLoops, Gauges and, with `settings`, Access; without, every endpoint must be
    public.
    """
    export_metrics()
    app = DocumentedProblems(
        title=title,
        description=description,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
        generate_unique_id_function=operation_id,
        servers=[{"url": "/", "description": "This service"}],
    )
    app.state.has_open_reads = settings is not None and settings.is_development
    app.state.components = Components(BackgroundLoops(), Gauges())
    if settings is not None:
        components(app).add(_access(settings, partner_tokens))
    add_problem_handlers(app)
    app.add_middleware(_HeadAsGet)
    app.add_middleware(RequestLimits, body_limits=body_limits, authenticate=authenticate)
    app.add_middleware(RequestGuard, allowed_hosts=settings.accepted_hosts if settings else LOOPBACK_HOSTS)
    app.add_middleware(_Instrumentation)
    add_docs(app)
    app.add_api_route("/metrics", _metrics, include_in_schema=False)
    return app


def _access(settings: ServiceSettings, partner_tokens: Mapping[str, Sequence[NamedToken]]) -> Access:
    return Access(
        settings.service_tokens,
        settings.operator_tokens,
        partner_tokens=partner_tokens,
        development=settings.is_development and not settings.service_tokens,
        open_reads=settings.is_development,
    )


async def _metrics(request: Request) -> Response:
    for update in components(request.app).get(Gauges).updates:
        with suppress(DatabaseUnavailable):  # the other values matter most then
            await update()
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class _HeadAsGet:
    """ASGI middleware that answers HEAD with the head of the response to GET (RFC 9110, 9.3.2).

    The response ends with its head, so that a stream ends too: the server reports the client as disconnected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["method"] = "HEAD"  # the server reads it too, to know that no body follows
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        scope["method"] = "GET"
        await self._app(scope, receive, send_head)


class _Instrumentation:
    """ASGI middleware that continues or starts a trace and measures the request.

    Requests are labelled with their route template and one of a few methods, which bounds the number of time
    series.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tracer = tracer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _QUIET:
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NOT_CACHED)
            await send(message)

        headers = dict(scope["headers"])
        traceparent, tracestate = (
            headers.get(name, b"").decode("latin-1") for name in (b"traceparent", b"tracestate")
        )
        span = self._tracer.start_span(scope["method"], context_of(traceparent, tracestate), SpanKind.SERVER)
        token = context.attach(trace.set_span_in_context(span))
        try:
            await self._app(scope, receive, observed)
        except Exception as error:
            span.record_exception(error)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            _seconds_of(method, route, status).observe(seconds)
            log.debug("request", path=scope["path"], status=status, ms=round(seconds * 1000, 1))
            context.detach(token)
            span.end()

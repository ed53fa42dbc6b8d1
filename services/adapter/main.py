"""Composition of the Adapter service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import structlog
from fastapi import Depends, FastAPI
from snsqs import InterceptedChannel, SnsChannel, Topology, aws_clients

from services.adapter import api, faults
from services.adapter.bridge import Bridge
from services.adapter.decisions import Decisions
from services.adapter.readiness import TopicReadiness
from services.adapter.routes import RouteFile, Routes, RoutesInvalid
from services.adapter.routes import api as routes_api
from services.adapter.routes import command as routes_command
from services.adapter.routes.recorded import EventLogs
from services.adapter.settings import Settings
from shared.operations.progress import progress_router
from shared.operations.registration import Registrar, Registration
from shared.runtime.background import BackgroundLoops
from shared.runtime.service_client import ServiceClient
from shared.runtime.tokens import bearer
from shared.service import StartRefused, command_line
from shared.web import application, components, health_router

log = structlog.get_logger(__name__)

_BATCH_LIMIT = 8 * 1024 * 1024
"""Bytes of a batch of events, for clients with a token."""

_EVENT_LOG_TIMEOUT = 2.0
"""Seconds for a page of recorded events."""


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Its lifespan opens and closes the clients. Raises StartRefused."""
    file, routes = _read_routes(settings)
    topics = _resolve_topics(settings, routes)
    injected = faults.Faults() if settings.is_development else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients,
            httpx.AsyncClient() as http,
        ):
            topology = Topology(clients, create=settings.creates_topology)
            publishers = {topic: SnsChannel(clients.sns, topology, arn) for topic, arn in topics.items()}
            for publisher in publishers.values():
                await publisher.prepare()
            readiness = {topic: TopicReadiness(topic) for topic in topics}
            injectors = [injected.send_copies] if injected else []
            channels = {
                topic: InterceptedChannel(publisher, *injectors, readiness[topic])
                for topic, publisher in publishers.items()
            }
            decisions = Decisions(routes.topics)
            urls = {"order": settings.order_url, "scm": settings.scm_url}
            headers = bearer(settings.service_token)
            services = [
                ServiceClient(name, url, http, headers, _EVENT_LOG_TIMEOUT) for name, url in urls.items()
            ]
            components(app).add(Bridge(routes, channels, decisions.record), file, EventLogs(services))
            checks = {f"topic {topic}": each.check for topic, each in readiness.items()}
            app.include_router(health_router(checks, loops={}))
            app.include_router(progress_router(decisions))
            registration = Registration.of_process("adapter", settings, topics=routes.topics)
            components(app).add(registration)
            registrar = Registrar(registration, settings, http)
            async with components(app).get(BackgroundLoops).running(registrar):
                yield

    app = application(
        title="Adapter service",
        description=__doc__,
        lifespan=lifespan,
        settings=settings,
        body_limits=dict.fromkeys(("/events", "/api/routes/evaluate"), _BATCH_LIMIT),
    )
    app.include_router(api.router, dependencies=[Depends(injected.refuse)] if injected else [])
    app.include_router(routes_api.router)
    if injected:
        components(app).add(injected)
        app.include_router(faults.router)
    return app


def _read_routes(settings: Settings) -> tuple[RouteFile, Routes]:
    try:
        file = RouteFile.open(settings.routes_file)
        routes = file.usable()
    except RoutesInvalid as error:
        raise StartRefused(error) from error
    for warning in file.warnings:
        log.warning("route file", file=file.name, line=warning.line, reason=str(warning))
    return file, routes


def _resolve_topics(settings: Settings, routes: Routes) -> dict[str, str]:
    """Return the ARN of each topic of the routes; in development its name if it has none, which is looked up
    or created. Raises StartRefused."""
    arns = {arn.rpartition(":")[2]: arn for arn in settings.topic_arns}
    topics = {topic: arns.get(topic, topic) for topic in routes.topics}
    missing = [topic for topic, arn in topics.items() if not arn.startswith("arn:")]
    if missing and not settings.is_development:
        raise StartRefused(
            f"environment variable TOPIC_ARNS has no ARN of {', '.join(missing)}, to which "
            f"{settings.routes_file} forwards; add arn:aws:sns:REGION:ACCOUNT:{missing[0]}"
        )
    return topics


cli = command_line("adapter", Settings, create_app)
cli.add_typer(routes_command.cli, name="routes")

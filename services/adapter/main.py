"""The Adapter service put together: what it reads, opens and serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import structlog
from fastapi import Depends, FastAPI
from snsqs import InterceptedChannel, SnsChannel, Topology, aws_clients

from services.adapter import api
from services.adapter import faults as faults_api
from services.adapter.bridge import Bridge
from services.adapter.decisions import Decisions
from services.adapter.faults import Faults, FaultSettings
from services.adapter.routes import RouteFile, RoutesInvalid
from services.adapter.routes import api as routes_api
from services.adapter.routes import command as routes_command
from services.adapter.settings import Settings
from shared.operations.progress import progress_router
from shared.runtime.service_client import ServiceClient
from shared.runtime.tokens import bearer
from shared.service import process
from shared.web import application, health_router

log = structlog.get_logger(__name__)

_BATCH_BYTES = 8 * 1024 * 1024
_EVENT_LOG_TIMEOUT = 2.0


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    try:
        file = RouteFile.open(settings.routes_file)
        routes = file.usable()
    except RoutesInvalid as error:
        raise process.StartRefused(error) from error
    for warning in file.warnings:
        log.warning("strange route", file=file.name, line=warning.line, reason=str(warning))
    faults = Faults(FaultSettings()) if settings.is_development else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients,
            httpx.AsyncClient() as http,
        ):
            topology = Topology(clients, create=settings.creates_topology)
            topics = {topic: SnsChannel(clients.sns, topology, topic) for topic in routes.topics}
            for topic in topics.values():
                await topic.prepare()
            decisions = Decisions(routes.topics)
            interceptors = [faults.sends_copies] if faults else []
            channels = {name: InterceptedChannel(topic, *interceptors) for name, topic in topics.items()}
            app.state.bridge = Bridge(routes, channels, decisions.add)
            services = {"order": settings.order_url, "scm": settings.scm_url}
            headers = bearer(settings.service_token)
            app.state.neighbours = {
                name: ServiceClient(name, url, http, headers, _EVENT_LOG_TIMEOUT)
                for name, url in services.items()
            }
            app.state.route_file = file
            app.state.faults = faults
            ready = {f"topic {name}": topic.check for name, topic in topics.items()}
            app.include_router(health_router(ready, loops={}))
            app.include_router(progress_router(decisions))
            yield

    app = application(
        title="Adapter service",
        description=__doc__,
        lifespan=lifespan,
        settings=settings,
        body_limit=_BATCH_BYTES,
    )
    app.include_router(api.router, dependencies=[Depends(faults.refuse)] if faults else [])
    app.include_router(routes_api.router)
    if faults:
        app.include_router(faults_api.router)
    return app


cli = process.command_line("adapter", Settings, create_app)
cli.add_typer(routes_command.cli, name="routes")

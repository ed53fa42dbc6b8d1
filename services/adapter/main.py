"""The Adapter service put together: what it reads, opens and serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import structlog
from fastapi import FastAPI

from services.adapter import api, console
from services.adapter.bridge import Bridge
from services.adapter.routes import RouteFile, RoutesInvalid
from services.adapter.routes import api as routes_api
from services.adapter.routes import command as routes_command
from services.adapter.settings import Settings
from shared import process
from shared.background import running
from shared.messaging import SnsChannel, Topology, aws_clients
from shared.web import application, health_router

log = structlog.get_logger(__name__)

_BATCH_BYTES = 8 * 1024 * 1024


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    try:
        file = RouteFile.open(settings.routes_file)
        routes = file.usable()
    except RoutesInvalid as error:
        raise process.StartRefused(error) from error
    for warning in file.warnings:
        log.warning("strange route", file=file.name, line=warning.line, reason=str(warning))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients,
            httpx.AsyncClient() as http,
        ):
            topology = Topology(clients, create=settings.creates_topology)
            channels = {topic: SnsChannel(clients.sns, topology, topic) for topic in routes.topics}
            for channel in channels.values():
                await channel.prepare()
            live = app.state.live = console.Live()
            decisions = console.Decisions(live)
            app.state.bridge = Bridge(routes, channels, decisions.add)
            neighbours = app.state.neighbours = [
                console.Neighbour("order", settings.order_url, http),
                console.Neighbour("scm", settings.scm_url, http),
            ]
            queues = console.Queues(clients, routes.topics)
            stations = console.Stations(neighbours, queues, routes.topics, decisions, live)
            app.state.stations = stations
            app.state.route_file = file
            ready = {f"topic {topic}": channel.check for topic, channel in channels.items()}
            app.include_router(health_router(ready, loops={}))
            async with running(app, live, stations):
                yield

    app = application(
        title="Adapter service",
        description=__doc__,
        lifespan=lifespan,
        settings=settings,
        body_limit=_BATCH_BYTES,
    )
    app.include_router(api.router)
    app.include_router(console.router)
    app.include_router(routes_api.router)
    return app


cli = process.command_line("adapter", Settings, create_app)
cli.add_typer(routes_command.cli, name="routes")

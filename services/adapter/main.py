"""The Adapter service put together: what it reads, opens and serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.adapter import api
from services.adapter.bridge import Bridge
from services.adapter.routes import RoutesInvalid, read_routes
from services.adapter.settings import Settings
from shared import process
from shared.messaging import SnsChannel, Topology, aws_clients
from shared.web import application, health_router

_BATCH_BYTES = 8 * 1024 * 1024


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    try:
        routes = read_routes(settings.routes_file)
    except RoutesInvalid as error:
        raise process.StartRefused(error) from error

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients:
            topology = Topology(clients, create=settings.creates_topology)
            channels = {topic: SnsChannel(clients.sns, topology, topic) for topic in routes.topics}
            for channel in channels.values():
                await channel.prepare()
            app.state.bridge = Bridge(routes, channels)
            ready = {f"topic {topic}": channel.check for topic, channel in channels.items()}
            app.include_router(health_router(ready, loops={}))
            yield

    app = application(
        title="Adapter service",
        description=__doc__,
        lifespan=lifespan,
        settings=settings,
        body_limit=_BATCH_BYTES,
    )
    app.include_router(api.router)
    return app


cli = process.command_line("adapter", Settings, create_app)

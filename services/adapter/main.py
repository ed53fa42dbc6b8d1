"""The Adapter service put together: what it reads, opens and serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import Depends, FastAPI

from services.adapter import api, laboratory, page
from services.adapter.bridge import Bridge
from services.adapter.routes import RoutesInvalid, read_routes
from services.adapter.settings import Settings
from shared import process
from shared.messaging import InterceptedChannel, SnsChannel, Topology, aws_clients
from shared.web import application, health_router

_BATCH_BYTES = 8 * 1024 * 1024


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    try:
        routes = read_routes(settings.routes_file)
    except RoutesInvalid as error:
        raise process.StartRefused(error) from error

    faults = laboratory.Faults()

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
            app.state.bridge = Bridge(
                routes,
                {topic: InterceptedChannel(each, faults.sends_copies) for topic, each in channels.items()}
                if settings.is_development
                else channels,
            )
            ready = {f"topic {topic}": channel.check for topic, channel in channels.items()}
            app.include_router(health_router(ready, loops={}))
            customers = laboratory.Customers(http, settings.order_url, settings.scm_url)
            experiments = laboratory.Laboratory(faults, customers, laboratory.Letterbox(clients.sqs))
            app.state.laboratory = experiments
            async with experiments:
                yield

    app = application(
        title="Adapter service",
        description=__doc__,
        lifespan=lifespan,
        settings=settings,
        body_limit=_BATCH_BYTES,
    )
    if settings.is_development:
        app.include_router(api.router, dependencies=[Depends(faults.refuse)])
        app.include_router(laboratory.router)
    else:
        app.include_router(api.router)
    page.serve(app)
    return app


cli = process.command_line("adapter", Settings, create_app)

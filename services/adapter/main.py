"""The Adapter service put together: what it reads, opens and serves."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import structlog
from fastapi import Depends, FastAPI
from snsqs import InterceptedChannel, SnsChannel, Topology, aws_clients

from services.adapter import api, console, laboratory, page, recovery
from services.adapter.bridge import Bridge
from services.adapter.recovery import command as recovery_command
from services.adapter.routes import RouteFile, RoutesInvalid
from services.adapter.routes import api as routes_api
from services.adapter.routes import command as routes_command
from services.adapter.settings import Settings
from shared.runtime.background import BackgroundLoops
from shared.runtime.service_client import ServiceClient
from shared.runtime.tokens import bearer
from shared.service import process
from shared.web import application, components, health_router

log = structlog.get_logger(__name__)

_BATCH_BYTES = 8 * 1024 * 1024
_LOOK_MOST = 2.0
"""Seconds; a person waits for the answer."""


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    try:
        file = RouteFile.open(settings.routes_file)
        routes = file.usable()
    except RoutesInvalid as error:
        raise process.StartRefused(error) from error
    for warning in file.warnings:
        log.warning("strange route", file=file.name, line=warning.line, reason=str(warning))
    faults = laboratory.Faults() if settings.is_development else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients,
            httpx.AsyncClient() as http,
            AsyncExitStack() as stack,
        ):
            topology = Topology(clients, create=settings.creates_topology)
            topics = {topic: SnsChannel(clients.sns, topology, topic) for topic in routes.topics}
            for topic in topics.values():
                await topic.prepare()
            live = app.state.live = console.Live()
            decisions = console.Decisions(live)
            interceptors = [faults.sends_copies] if faults else []
            channels = {name: InterceptedChannel(topic, *interceptors) for name, topic in topics.items()}
            app.state.bridge = Bridge(routes, channels, decisions.add)
            order = ServiceClient("order", settings.order_url, http)
            scm = ServiceClient("scm", settings.scm_url, http)
            shown = bearer(settings.service_token)
            neighbours = {each.name: each.with_headers(shown, timeout=_LOOK_MOST) for each in (order, scm)}
            app.state.neighbours = neighbours
            queues = console.Queues(clients, routes.topics)
            stations = console.Stations(list(neighbours.values()), queues, routes.topics, decisions, live)
            app.state.stations = stations
            app.state.route_file = file
            ready = {f"topic {name}": topic.check for name, topic in topics.items()}
            app.include_router(health_router(ready, loops={}))
            audit = recovery.Audit(settings.audit_file)
            operations = recovery.Operations(audit)
            dead_letter_queues = recovery.Queues(clients, routes.topics)
            services = recovery.Services([order, scm], audit)
            replays = recovery.Replays(services, operations, routes, app.state.bridge, queues.held)
            app.state.recovery = recovery.Recovery(dead_letter_queues, services, operations, audit, replays)
            app.state.dead_letters = console.DeadLetters(queues, app.state.recovery)
            if faults:
                customers = laboratory.Customers(order, scm)
                experiments = laboratory.Laboratory(faults, customers, laboratory.Letterbox(clients))
                app.state.laboratory = await stack.enter_async_context(experiments)
            loops = components(app).get(BackgroundLoops).running(live, stations, operations)
            await stack.enter_async_context(loops)
            yield

    app = application(
        title="Adapter service",
        description=__doc__,
        lifespan=lifespan,
        settings=settings,
        body_limit=_BATCH_BYTES,
    )
    app.include_router(api.router, dependencies=[Depends(faults.refuse)] if faults else [])
    app.include_router(console.router)
    app.include_router(routes_api.router)
    app.include_router(recovery.router)
    if faults:
        app.include_router(laboratory.router)
    page.serve(app, laboratory=settings.is_development)
    return app


cli = process.command_line("adapter", Settings, create_app)
cli.add_typer(routes_command.cli, name="routes")
cli.add_typer(recovery_command.dead_letters, name="dead-letters")
cli.add_typer(recovery_command.parked, name="parked")
cli.add_typer(recovery_command.listeners, name="listeners")
cli.add_typer(recovery_command.operations, name="operations")
cli.command("replay")(recovery_command.replay)
cli.command("audit")(recovery_command.audit)

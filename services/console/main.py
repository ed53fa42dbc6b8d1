"""The Console service put together: its settings, resources and endpoints."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from fastapi import FastAPI
from snsqs import aws_clients

from services.console import cli as commands
from services.console import experiments, page, recovery, watch
from services.console.recovery.adapter import AdapterClient
from services.console.settings import Settings
from services.console.topics import Topics
from shared.runtime.background import BackgroundLoops
from shared.runtime.service_client import ServiceClient
from shared.runtime.tokens import bearer
from shared.service import command_line
from shared.web import application, components, health_router

_PROGRESS_TIMEOUT = 2.0


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients,
            httpx.AsyncClient() as http,
            AsyncExitStack() as stack,
        ):
            order = ServiceClient("order", settings.order_url, http)
            adapter = ServiceClient("adapter", settings.adapter_url, http)
            scm = ServiceClient("scm", settings.scm_url, http)
            token = bearer(settings.service_token)
            watched = {
                each.name: each.with_headers(token, timeout=_PROGRESS_TIMEOUT)
                for each in (order, scm, adapter)
            }
            topics = Topics(watched["adapter"])
            live = app.state.live = watch.Live()
            queues = watch.Queues(clients, topics)
            stations = app.state.stations = watch.Stations(list(watched.values()), queues, live)
            app.state.neighbours = watched
            audit = recovery.Audit(settings.audit_file)
            operations = recovery.Operations(audit)
            services = recovery.Services([order, scm], audit)
            replays = recovery.Replays(services, operations, AdapterClient(adapter, token), queues.held)
            app.state.recovery = recovery.Recovery(
                recovery.Queues(clients, topics), services, operations, audit, replays
            )
            app.state.dead_letters = watch.DeadLetters(queues, app.state.recovery)
            if settings.is_development:
                customers = experiments.Customers(order, scm)
                letterbox = experiments.Letterbox(clients)
                laboratory = experiments.Laboratory(adapter, customers, letterbox)
                app.state.laboratory = await stack.enter_async_context(laboratory)
            app.include_router(health_router({}, loops={}))
            loops = components(app).get(BackgroundLoops)
            await stack.enter_async_context(loops.running(live, stations, operations))
            yield

    app = application(title="Console service", description=__doc__, lifespan=lifespan, settings=settings)
    app.include_router(watch.router)
    app.include_router(recovery.router)
    if settings.is_development:
        app.include_router(experiments.router)
    page.serve(app, laboratory=settings.is_development)
    return app


cli = command_line("console", Settings, create_app)
cli.add_typer(commands.dead_letters, name="dead-letters")
cli.add_typer(commands.parked, name="parked")
cli.add_typer(commands.listeners, name="listeners")
cli.add_typer(commands.operations, name="operations")
cli.command("replay")(commands.replay)
cli.command("audit")(commands.audit)

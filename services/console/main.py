"""The Console service put together: its settings, resources and endpoints."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI
from snsqs import AwsClients, aws_clients
from snsqs.events import ApplicationEventPublisher
from snsqs.postgres import Database, connect
from snsqs.retention import Expiry, Retention

from services.console import cli as commands
from services.console import experiments, page, recovery, watch
from services.console import registry as registry_api
from services.console.queues import QueueFinder
from services.console.registry import Registry
from services.console.settings import Settings
from shared.runtime.background import BackgroundLoops
from shared.runtime.tokens import bearer
from shared.service import add_migrate, command_line
from shared.web import application, components, health_router, map_errors

MIGRATIONS = (Path(__file__).parent / "migrations",)

OPERATION_RETENTION_DAYS = 90
"""Days that operations are kept. The audit is kept."""

_CONNECTIONS = 8
"""One for the heartbeats of operations and one for the retention; the others serve requests."""


def create_app(settings: Settings) -> FastAPI:
    """Build the application; its lifespan opens and closes everything that it needs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            connect(
                settings.database_url, ApplicationEventPublisher([]), connections=_CONNECTIONS
            ) as database,
            aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients,
            httpx.AsyncClient() as http,
            AsyncExitStack() as stack,
        ):
            token = bearer(settings.service_token)
            registry = Registry(database, http, token)
            adapter = recovery.AdapterClient(registry.client("adapter"))
            finder = QueueFinder(clients, registry)
            depths = watch.Depths(finder)

            audit, operations = recovery.Audit(database), recovery.Operations(database)
            services = recovery.Services(registry, audit)
            dead_letters = recovery.DeadLetters(finder, operations, audit, registry)
            replays = recovery.Replays(registry, finder, operations, adapter, depths.count)
            live = watch.Live()
            stations = watch.Stations(registry, depths, live)
            lineages = watch.Lineages(registry, depths, dead_letters)
            components(app).add(
                *(
                    database,
                    registry,
                    audit,
                    operations,
                    services,
                    dead_letters,
                    replays,
                    recovery.HeldBackEvents(services, adapter, audit),
                    live,
                    stations,
                    lineages,
                )
            )
            if settings.is_development:
                laboratory = await stack.enter_async_context(_laboratory(registry, clients))
                components(app).add(laboratory)

            retention = Retention(database, Expiry("operation", "began_at", OPERATION_RETENTION_DAYS))
            app.include_router(
                health_router(
                    {"database": _migrated(database)}, {"operations": operations, "retention": retention}
                )
            )
            loops = components(app).get(BackgroundLoops)
            await stack.enter_async_context(loops.running(live, stations, operations, retention))
            yield

    app = application(title="Console service", description=__doc__, lifespan=lifespan, settings=settings)
    app.include_router(registry_api.router)
    map_errors(app, registry_api.STATUSES)
    app.include_router(watch.router)
    app.include_router(recovery.router)
    map_errors(app, recovery.STATUSES)
    if settings.is_development:
        app.include_router(experiments.router)
        map_errors(app, experiments.STATUSES)
    page.serve(app, laboratory=settings.is_development)
    return app


def _laboratory(registry: Registry, clients: AwsClients) -> experiments.Laboratory:
    customers = experiments.Customers(registry.client("order"), registry.client("scm"))
    return experiments.Laboratory(registry, customers, experiments.ExperimentQueue(clients))


def _migrated(database: Database) -> Callable[[], Awaitable[None]]:
    """Return the readiness check of the database."""

    async def check() -> None:
        async with database.connection() as connection:
            await connection.execute("SELECT FROM operation, audit, registration LIMIT 0")

    return check


cli = command_line("console", Settings, create_app)
add_migrate(cli, "console", MIGRATIONS, messaging=False)
cli.add_typer(commands.dead_letters, name="dead-letters")
cli.add_typer(commands.parked, name="parked")
cli.add_typer(commands.listeners, name="listeners")
cli.add_typer(commands.versions, name="versions")
cli.add_typer(commands.held_back, name="held-back")
cli.add_typer(commands.operations, name="operations")
cli.add_typer(commands.services, name="services")
cli.command("replay")(commands.replay)
cli.command("audit")(commands.audit)

"""The SCM service put together: what it registers, opens and runs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI

from services.scm import delivery, fulfilment, inventory, listener
from services.scm.settings import Settings
from shared import process
from shared.background import running
from shared.events import ApplicationEventPublisher
from shared.inbox import Inbox, received_messages
from shared.messaging import ListenerContainer, Middleware, Topology, aws_clients, bindings
from shared.migration import SHARED
from shared.outbox import EventLog, Relay, RelayOptions, decided_events
from shared.postgres import connect
from shared.retention import Retention
from shared.telemetry import Tracing
from shared.web import application, health_router

MIGRATIONS = (SHARED, Path(__file__).parent / "migrations")

HANDLERS = (listener.on_order_completed,)
"""What this service takes from queues."""

SOURCE = "scm"
"""The name under which this service's events travel (`ce-source`)."""


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    consumed = bindings(HANDLERS)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            http = await opened.enter_async_context(httpx.AsyncClient())
            publisher = ApplicationEventPublisher(
                [
                    fulfilment.record_goods_ordered,
                    inventory.reserve_goods,
                    fulfilment.record_progress,
                    delivery.Delivery(delivery.Orders(http, settings.order_url)),
                    EventLog(),
                ]
            )
            database = await opened.enter_async_context(connect(settings.database_url, publisher))
            clients = await opened.enter_async_context(
                aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url)
            )
            relay = Relay(
                database,
                http,
                adapter_url=settings.adapter_url,
                source=SOURCE,
                options=RelayOptions(max_attempts=settings.event_max_attempts),
            )
            retention = Retention(
                database,
                decided_events(settings.event_retention_days),
                received_messages(settings.inbox_retention_days),
            )
            topology = Topology(clients, create=settings.creates_topology)
            middleware: list[Middleware] = [Tracing(), Inbox(database)]
            listeners = [ListenerContainer(topology, each, middleware=middleware) for each in consumed]
            for each in listeners:
                await each.prepare()
            app.state.database = database
            app.state.measures.append(relay.measure)
            app.include_router(
                health_router(
                    ready={"database": database.check_migrated},
                    loops={
                        "relay": relay,
                        "retention": retention,
                        **{each.binding.queue: each for each in listeners},
                    },
                )
            )
            async with running(app, relay, retention, *listeners):
                yield

    app = application(title="SCM service", description=__doc__, lifespan=lifespan)
    for router in (inventory.router, delivery.router, fulfilment.router):
        app.include_router(router)
    return app


cli = process.command_line("scm", Settings, create_app)
process.add_migrate(cli, "scm", MIGRATIONS)

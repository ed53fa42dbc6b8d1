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
from shared.inbox import Inbox
from shared.messaging import ListenerContainer, Topology, aws_clients, bindings
from shared.migration import SHARED
from shared.outbox import EventLog, Relay
from shared.postgres import connect
from shared.telemetry import Tracing
from shared.web import application, health_router

MIGRATIONS = (SHARED, Path(__file__).parent / "migrations")

SOURCE = "scm"
"""The name under which this service's events travel (`ce-source`)."""


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    [order_events] = bindings([listener.on_order_completed])

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
            relay = Relay(database, http, adapter_url=settings.adapter_url, source=SOURCE)
            container = ListenerContainer(
                Topology(clients, create=settings.creates_topology),
                order_events,
                middleware=[Tracing(), Inbox(database)],
            )
            await container.prepare()
            app.state.database = database
            app.state.measures.append(relay.measure)
            app.include_router(
                health_router(
                    ready={"database": database.check_migrated},
                    information={"relay": lambda: relay.trouble, "listener": lambda: container.trouble},
                )
            )
            async with running(app, relay, container):
                yield

    app = application(title="SCM service", description=__doc__, lifespan=lifespan)
    for router in (inventory.router, delivery.router, fulfilment.router):
        app.include_router(router)
    return app


cli = process.command_line("scm", Settings, create_app)
process.add_migrate(cli, "scm", MIGRATIONS)

"""The Order service put together: what it registers, opens and runs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI

from services.order import api, replies
from services.order.settings import Settings
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

HANDLERS = (replies.on_fulfilment_progress,)
"""What this service takes from queues."""

SOURCE = "order"
"""The name under which this service's events travel (`ce-source`)."""


def create_app(settings: Settings) -> FastAPI:
    """The application; its lifespan opens and closes everything that it needs."""
    publisher = ApplicationEventPublisher([EventLog()])
    consumed = bindings(HANDLERS)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as opened:
            database = await opened.enter_async_context(connect(settings.database_url, publisher))
            http = await opened.enter_async_context(httpx.AsyncClient())
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

    app = application(title="Order service", description=__doc__, lifespan=lifespan)
    app.include_router(api.router)
    api.answer_order_errors(app)
    return app


cli = process.command_line("order", Settings, create_app)
process.add_migrate(cli, "order", MIGRATIONS)

"""What a service that publishes events and handles messages runs beside its web application."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import httpx
from fastapi import FastAPI
from snsqs import ListenerContainer, ListenerOptions, Topology, aws_clients, bindings
from snsqs.background import PollingLoop
from snsqs.events import ApplicationEventPublisher, Listener
from snsqs.inbox import Inbox, received_messages
from snsqs.outbox import EventLog, Relay, RelayOptions, decided_events
from snsqs.postgres import Database, DatabaseUnavailable, connect
from snsqs.retention import Expiry, Retention
from snsqs.tracing import Tracing

from shared.operations.event_log_api import router as event_log_router
from shared.operations.listeners import Listeners
from shared.operations.listeners import router as listeners_router
from shared.operations.progress import Progress, SettledMessages
from shared.operations.progress import router as progress_router
from shared.operations.reconciliation import router as reconciliation_router
from shared.operations.tally import Tally
from shared.runtime import background
from shared.runtime.background import running
from shared.runtime.tokens import bearer
from shared.service.settings import EventDrivenSettings
from shared.web import health, health_router

_CONNECTIONS_BESIDE_HANDLERS = 12
"""The relay's, one of each other loop, and what is left for REST."""

_FOLLOW_INTERVAL = 2.0
"""Seconds until a listener that another instance was asked to pause is paused here too."""


class Loop(background.Loop, health.Loop, Protocol):
    """Runs beside the web application, and tells on `/readyz` when it is in trouble."""


@asynccontextmanager
async def event_driven(
    app: FastAPI,
    settings: EventDrivenSettings,
    *,
    source: str,
    handlers: Sequence[Callable[..., Awaitable[None]]],
    http: httpx.AsyncClient,
    listeners: Sequence[Listener] = (),
    loops: Callable[[Database], Mapping[str, Loop]] = lambda _: {},
    expiries: Sequence[Expiry] = (),
    leans_on: Mapping[str, health.Loop] | None = None,
) -> AsyncIterator[None]:
    """Opens the database, and runs the relay, the retention, a listener per queue that the handlers name, and
    the service's own `loops`, each under its name on `/readyz`.

    `app.state.database` is set for the endpoints, and the routes of health, progress, event log, listeners
    and reconciliation are added. `source` is the name under which the service's events travel; `listeners`
    hear them in process, in this order, before the event log does; `expiries` is what expires besides events
    and the inbox's records; `leans_on` is what else has a trouble that `/readyz` is to tell. Raises what
    refuses a start: DatabaseUnreachable, TopologyError, ListenerMisconfigured.
    """
    consumed = bindings(handlers)
    connections = len(consumed) * ListenerOptions().max_concurrency + _CONNECTIONS_BESIDE_HANDLERS
    event_log = EventLog()
    publisher = ApplicationEventPublisher([*listeners, event_log])
    async with (
        connect(settings.database_url, publisher, connections=connections) as database,
        aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients,
    ):
        options = RelayOptions(max_attempts=settings.event_max_attempts)
        decided = Tally()
        relay = Relay(
            database,
            http,
            event_log,
            adapter_url=settings.adapter_url,
            headers=bearer(settings.service_token),
            source=source,
            options=options,
            observer=decided.add,
        )
        retention = Retention(
            database,
            decided_events(settings.event_retention_days),
            received_messages(settings.inbox_retention_days),
            *expiries,
        )
        topology = Topology(clients, create=settings.creates_topology)
        settled = SettledMessages()
        containers = [
            ListenerContainer(
                topology, binding, middleware=[Tracing(), Inbox(database)], observer=settled.add
            )
            for binding in consumed
        ]
        for container in containers:
            await container.prepare()
        app.state.database = database
        app.state.event_log = event_log
        app.state.progress = Progress(source, relay, decided, containers, settled)
        app.state.measures.append(relay.measure)
        app.state.listeners = Listeners(database, containers)
        with suppress(DatabaseUnavailable):  # it will be asked again, and until then nothing can be handled
            await app.state.listeners.follow()
        queues = {container.binding.queue: container for container in containers}
        own = loops(database)
        running_loops: dict[str, Loop] = {
            "relay": relay,
            "retention": retention,
            "pauses": PollingLoop(
                "pauses",
                app.state.listeners.follow,
                interval=_FOLLOW_INTERVAL,
                retry_on=(DatabaseUnavailable,),
                max_backoff=_FOLLOW_INTERVAL,
            ),
            **queues,
            **own,
        }
        told = {**running_loops, **(leans_on or {})}
        app.include_router(health_router({"database": database.check_migrated}, told))
        app.include_router(event_log_router)
        app.include_router(progress_router)
        app.include_router(listeners_router)
        app.include_router(reconciliation_router)
        async with running(app, *running_loops.values()):
            yield

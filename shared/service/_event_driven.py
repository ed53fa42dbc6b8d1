"""Composition of a service that publishes events and handles messages."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import httpx
from fastapi import FastAPI
from snsqs import (
    Binding,
    Delivery,
    DomainEvent,
    HandlerFunction,
    ListenerContainer,
    ListenerOptions,
    MessageHandler,
    Middleware,
    TerminalError,
    Topology,
    aws_clients,
    bindings,
)
from snsqs.background import PollingLoop
from snsqs.events import ApplicationEventPublisher, Listener
from snsqs.headers import SOURCE
from snsqs.inbox import Inbox, received_messages
from snsqs.outbox import EventLog, Relay, RelayOptions, decided_events
from snsqs.outbox.http import HttpSink
from snsqs.postgres import Database, DatabaseUnavailable, connect
from snsqs.retention import Expiry, Retention
from snsqs.tracing import Tracing

from shared.operations import event_log_api, handled_versions_api, listener_control, reconciliation
from shared.operations.listener_control import ListenerControl, UnknownListener
from shared.operations.progress import Progress, SettledMessages, progress_router
from shared.operations.registration import Registrar, Registration, registered_queues
from shared.operations.tally import Tally
from shared.runtime.background import BackgroundLoops, Loop
from shared.runtime.tokens import bearer
from shared.service._settings import EventDrivenSettings, connection_limit
from shared.web import Gauges, Monitored, components, health_router, map_errors

OPERATIONS = (
    event_log_api.router,
    handled_versions_api.router,
    listener_control.router,
    reconciliation.router,
)
"""REST endpoints for operators and the console."""

MAX_VERSION_JUMP = 1_000_000
"""Greatest step of an aggregate's version. Gaps are normal, because events are held back."""

PAUSE_POLL_INTERVAL = 2.0
"""Seconds until an instance has applied a pause that another instance has recorded."""


class MonitoredLoop(Loop, Monitored, Protocol):
    """A background loop that reports on `/readyz` why it is degraded."""


class SourceGuard:
    """Middleware that rejects messages of other sources.

    Versions are compared per source, so a message of a source that publishes nothing here would supersede
    and be superseded by none. A message without a source is compared with those of all.
    """

    provides = ()

    def __init__(self, sources: Collection[str]) -> None:
        self._sources = sources

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        """Raises TerminalError."""
        for message in delivery.messages:
            source = message.headers.get(SOURCE)
            if source and source not in self._sources:
                accepted = ", ".join(sorted(self._sources))
                raise TerminalError(
                    f"{SOURCE} {source!r:.100} is not accepted; {delivery.queue} takes messages of {accepted}"
                )
        await proceed(delivery)


@asynccontextmanager
async def event_driven(
    app: FastAPI,
    settings: EventDrivenSettings,
    *,
    source: str,
    publishes: Sequence[type[DomainEvent]],
    handlers: Sequence[HandlerFunction | Binding],
    accepts: Collection[str],
    http: httpx.AsyncClient,
    listeners: Sequence[Listener] = (),
    loops: Callable[[Database], Mapping[str, MonitoredLoop]] = lambda _: {},
    expiries: Sequence[Expiry] = (),
    dependencies: Mapping[str, Monitored] | None = None,
) -> AsyncIterator[None]:
    """Run the relay, the retention and one listener per queue of the handlers, with the endpoints to operate
    them, for the duration of the body.

    Registers the instance with the console, if CONSOLE_URL is set. Adds Database, EventLog, ListenerControl
    and Registration to the application's components.

    `source` is the name of the service, under which its events travel. `publishes` are the events that it
    appends to its event log. `handlers` are functions marked with `@sqs_listener`, or bindings, for messages
    of the services that `accepts` names. `listeners` receive in-process events in this order, before the
    event log does. `loops` returns the service's own background loops by their names on `/readyz`. `expiries`
    delete rows besides those of event log and inbox. `dependencies` are reported on `/readyz` by name.

    Raises the errors that prevent a start: DatabaseUnreachable, TopologyError, ListenerMisconfigured,
    RetentionTooShort, TooFewConnections.
    """
    bound = bindings(handlers)
    event_log, decided, settled = EventLog(), Tally(), SettledMessages()
    publisher = ApplicationEventPublisher([*listeners, event_log])
    options = [each.options or ListenerOptions() for each in bound]
    limit = connection_limit(options, settings.database_max_connections)
    async with (
        connect(settings.database_url, publisher, connections=limit) as database,
        aws_clients(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url) as clients,
    ):
        relay = _relay(settings, database, http, event_log, source, decided)
        topology = Topology(clients, create=settings.creates_topology)
        middleware: list[Middleware] = [Tracing(), SourceGuard(accepts), _inbox(settings, database)]
        containers = [
            ListenerContainer(topology, binding, middleware=middleware, observer=settled.add)
            for binding in bound
        ]
        for container in containers:
            await container.prepare()
        control = ListenerControl(database, containers)
        with suppress(DatabaseUnavailable):  # applied by its loop later; until then no message can be handled
            await control.apply_paused()
        running: dict[str, MonitoredLoop] = {
            "relay": relay,
            "retention": _retention(settings, database, expiries),
            "pauses": _pauses(control),
            **{container.binding.queue: container for container in containers},
            **loops(database),
        }
        registration = _registration(settings, source, publishes, bound)
        components(app).add(database, event_log, control, registration)
        components(app).get(Gauges).updates.append(relay.measure)
        progress = Progress(source, relay, decided, containers, settled)
        _add_endpoints(app, database, progress, {**running, **(dependencies or {})})
        registrar = Registrar(registration, settings, http)
        async with components(app).get(BackgroundLoops).running(*running.values(), registrar):
            yield


def _add_endpoints(
    app: FastAPI, database: Database, progress: Progress, monitored: Mapping[str, Monitored]
) -> None:
    map_errors(app, {UnknownListener: 404})
    health = health_router({"database": database.check_migrated}, monitored)
    for router in (health, progress_router(progress), *OPERATIONS):
        app.include_router(router)


def _inbox(settings: EventDrivenSettings, database: Database) -> Inbox:
    return Inbox(database, max_version_jump=MAX_VERSION_JUMP, retention_days=settings.inbox_retention_days)


def _registration(
    settings: EventDrivenSettings,
    source: str,
    publishes: Sequence[type[DomainEvent]],
    bound: Sequence[Binding],
) -> Registration:
    return Registration.of_process(
        source,
        settings,
        publishes=sorted(event.event_type for event in publishes),
        queues=registered_queues(bound),
        has_checksum=True,
    )


def _relay(
    settings: EventDrivenSettings,
    database: Database,
    http: httpx.AsyncClient,
    event_log: EventLog,
    source: str,
    decided: Tally,
) -> Relay:
    sink = HttpSink(http, settings.adapter_url, source=source, headers=bearer(settings.service_token))
    options = RelayOptions(max_attempts=settings.event_max_attempts)
    return Relay(database, event_log, sink, options=options, observer=decided.add)


def _retention(settings: EventDrivenSettings, database: Database, expiries: Sequence[Expiry]) -> Retention:
    return Retention(
        database,
        decided_events(settings.event_retention_days),
        received_messages(settings.inbox_retention_days),
        *expiries,
    )


def _pauses(control: ListenerControl) -> PollingLoop:
    return PollingLoop(
        "pauses",
        control.apply_paused,
        interval=PAUSE_POLL_INTERVAL,
        retry_on=(DatabaseUnavailable,),
        max_backoff=PAUSE_POLL_INTERVAL,
    )

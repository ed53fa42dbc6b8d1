"""Stations: backlog, age and rate at each point of the event path."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError
from snsqs import WireModel
from snsqs.background import wait_for_event

from services.console.watch.depths import Depth, Depths
from services.console.watch.live import Live
from shared.operations.progress import ListenerProgress, Pace, RuleCount, ServiceProgress, SettledMessage
from shared.runtime.service_client import ServiceClient, ServiceUnavailable

ADAPTER = "adapter"

_CURSOR_TIMEOUT = 30.0
"""Seconds without clients after which the next one starts without the events in between."""

_PAUSE_FACTOR = 10
"""The pause after a poll is this multiple of its duration, up to twice the usual one: services that answer
slowly are busy, and polling must not add to that."""

_MAX_INSTANCES = 8
"""Instances of a service whose cursors are kept."""

Status: TypeAlias = Literal["up", "down", "paused"]


class ServiceStatus(WireModel):
    """Status of a service, and the reason if it is down."""

    id: str
    status: Status
    trouble: str | None = None


class Station(WireModel):
    """One point of the event path. Members that do not apply to its kind, or are unknown, are null. Counts
    are those of the instance that answered, since it started."""

    id: str
    kind: Literal["relay", "adapter", "topic", "queue", "dead_letters", "listener"]
    name: str
    service: str | None = None
    status: Status = "up"
    trouble: str | None = None
    waiting: int | None = None
    """Events of a relay, visible messages of a queue, messages that a listener has buffered."""
    in_flight: int | None = None
    """Leased messages of a queue, running handlers of a listener."""
    oldest_seconds: float | None = None
    parked: int | None = None
    per_second: float | None = None
    per_minute: int | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    """By decision, or by outcome."""
    rules: list[RuleCount] | None = None
    """Of the adapter."""
    handlers: dict[str, str] | None = None
    """Of a listener: handler function by event type."""
    feeds: list[str] = Field(default_factory=list)
    """Ids of the next stations."""


class SystemSnapshot(WireModel):
    """All services and stations at one time."""

    at: datetime
    services: list[ServiceStatus]
    stations: list[Station]


class Settled(WireModel):
    """Outcome of a message at a listener."""

    service: str
    queue: str
    handler: str | None
    event_id: str
    type: str
    order_id: str
    outcome: str
    reason: str | None
    receive_count: int
    received_at: datetime
    settled_at: datetime

    @classmethod
    def from_progress(cls, service: str, message: SettledMessage) -> "Settled":
        about = dict(message)
        return cls(service=service, event_id=about.pop("message_id"), order_id=about.pop("subject"), **about)


class Missed(WireModel):
    """Number of messages or decisions that a service no longer had in memory when it was polled."""

    service: str
    missed: int


class Stations:
    """Polls the services, SNS and SQS. A background loop: while the live stream has clients, it polls about
    once per `max_age` seconds and publishes the result. A service that is down keeps its known stations."""

    def __init__(
        self,
        services: Sequence[ServiceClient],
        depths: Depths,
        live: Live,
        *,
        max_age: float = 1.0,
    ) -> None:
        self._clients = services
        self._depths = depths
        self._live = live
        self._max_age = max_age
        self._known: dict[str, ServiceProgress] = {}
        self._cursors: dict[str, dict[str, str]] = {each.name: {} for each in services}
        self._reading = asyncio.Lock()
        self._read: tuple[float, SystemSnapshot] | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Stop this loop and the live stream."""
        self._stopping.set()
        self._live.stop()

    async def run(self) -> None:
        """Poll and publish while the live stream has clients."""
        while not self._stopping.is_set():
            if not self._live.has_viewers.is_set():
                await self._live.has_viewers.wait()
                self._discard_old_cursors()
            time = asyncio.get_running_loop().time
            began = time()
            self._set_states(await self.now())
            pause = min(max(self._max_age, _PAUSE_FACTOR * (time() - began)), 2 * self._max_age)
            await wait_for_event(self._stopping, pause)

    async def now(self) -> SystemSnapshot:
        """Return a snapshot that is at most `max_age` seconds old. Concurrent callers share one poll."""
        time = asyncio.get_running_loop().time
        async with self._reading:
            if self._read is None or time() - self._read[0] >= self._max_age:
                snapshot = await self._snapshot()
                self._read = time(), snapshot
            return self._read[1]

    def _discard_old_cursors(self) -> None:
        """Discard cursors after a long time without clients."""
        now = asyncio.get_running_loop().time()
        if self._read is None or now - self._read[0] > _CURSOR_TIMEOUT:
            for cursors in self._cursors.values():
                cursors.clear()

    def _set_states(self, snapshot: SystemSnapshot) -> None:
        for service in snapshot.services:
            self._live.set_state("service", service.id, service)
        for station in snapshot.stations:
            self._live.set_state("station", station.id, station)

    async def _snapshot(self) -> SystemSnapshot:
        depths, services = await asyncio.gather(self._depths.all(), self._services())
        stations = [
            *(station for service in services for station in self._of_service(service)),
            *self._of_topics(depths),
        ]
        return SystemSnapshot(at=datetime.now(UTC), services=services, stations=stations)

    async def _services(self) -> list[ServiceStatus]:
        return list(await asyncio.gather(*map(self._service, self._clients)))

    async def _service(self, client: ServiceClient) -> ServiceStatus:
        """Poll a service; publish what it settled or decided since the last poll."""
        cursors = self._cursors[client.name]
        wanted = {"after": list(cursors.values())} if self._live.has_viewers.is_set() else None
        try:
            progress = ServiceProgress.model_validate(await client.find("/progress", wanted))
        except (ServiceUnavailable, ValidationError) as error:
            trouble = (
                str(error)
                if isinstance(error, ServiceUnavailable)
                else f"{client}: /progress is not a progress report"
            )
            return ServiceStatus(id=client.name, status="down", trouble=trouble)
        self._known[client.name] = progress
        self._publish(client.name, progress)
        return ServiceStatus(id=client.name, status="up", trouble=progress.trouble)

    def _publish(self, service: str, progress: ServiceProgress) -> None:
        for decision in progress.decisions:
            self._live.publish("decision", decision)
        for message in progress.settled:
            self._live.publish("settled", Settled.from_progress(service, message))
        if progress.missed:
            self._live.publish("missed", Missed(service=service, missed=progress.missed))
        cursors = self._cursors[service]
        cursors[progress.cursor.partition("-")[0]] = progress.cursor
        if len(cursors) > _MAX_INSTANCES:
            del cursors[next(iter(cursors))]

    def _of_service(self, service: ServiceStatus) -> Iterator[Station]:
        progress = self._known.get(service.id)
        first = _bridge(service.id, progress) if service.id == ADAPTER else _relay(service.id, progress)
        yield first.model_copy(update=_down(service))
        for listener in progress.listeners if progress else ():
            yield _listener(service.id, listener).model_copy(update=_down(service))

    def _of_topics(self, depths: Sequence[Depth]) -> Iterator[Station]:
        adapter = self._known.get(ADAPTER)
        published = adapter.bridge.published if adapter and adapter.bridge else {}
        for topic in _topics(adapter):
            queues = [depth for depth in depths if depth.topic == topic]
            yield Station(
                id=f"topic:{topic}",
                kind="topic",
                name=topic,
                counts={"published": published.get(topic, 0)},
                feeds=[f"queue:{depth.queue}" for depth in queues],
            )
            for depth in queues:
                yield from _queues(depth)


def _topics(adapter: ServiceProgress | None) -> Sequence[str]:
    return adapter.bridge.topics if adapter and adapter.bridge else ()


def _relay(service: str, progress: ServiceProgress | None) -> Station:
    station = Station(
        id=f"relay:{service}", kind="relay", name=f"{service} relay", service=service, feeds=[ADAPTER]
    )
    if progress is None or progress.relay is None:
        return station
    relay = progress.relay
    return station.model_copy(
        update={
            "status": "down" if relay.trouble else "up",
            "trouble": relay.trouble,
            "waiting": relay.waiting,
            "oldest_seconds": relay.oldest_seconds,
            "parked": relay.parked,
            **_pace(relay),
        }
    )


def _bridge(service: str, progress: ServiceProgress | None) -> Station:
    station = Station(id=service, kind="adapter", name=service, service=service)
    if progress is None or progress.bridge is None:
        return station
    feeds = [f"topic:{topic}" for topic in _topics(progress)]
    return station.model_copy(
        update={"rules": progress.bridge.rules, "feeds": feeds, **_pace(progress.bridge)}
    )


def _pace(counted: Pace) -> dict[str, Any]:
    return {
        "counts": dict(counted.counts),
        "per_second": counted.per_second,
        "per_minute": counted.per_minute,
    }


def _down(service: ServiceStatus) -> dict[str, Any]:
    """Return the changes of a station whose service is down: no number that may have changed."""
    if service.status == "up":
        return {}
    unknown = dict.fromkeys(("waiting", "in_flight", "oldest_seconds", "parked", "per_second", "per_minute"))
    return {"status": "down", "trouble": service.trouble, **unknown}


def _listener(service: str, listener: ListenerProgress) -> Station:
    status: Status = "paused" if listener.is_paused else "down" if listener.trouble else "up"
    return Station(
        id=f"listener:{listener.queue}",
        kind="listener",
        name=listener.queue,
        service=service,
        status=status,
        trouble=listener.trouble,
        waiting=listener.buffered,
        in_flight=listener.in_flight,
        handlers=listener.handlers,
        feeds=[f"relay:{service}"],
        **_pace(listener),
    )


def _queues(depth: Depth) -> Iterator[Station]:
    """Yield a queue and its dead-letter queue."""
    status: Status = "down" if depth.trouble else "up"
    dead_letters = f"queue:{depth.dead_letter_queue}"
    feeds = [f"listener:{depth.queue}", *([dead_letters] if depth.dead_letter_queue else [])]
    yield Station(
        id=f"queue:{depth.queue}",
        kind="queue",
        name=depth.queue,
        status=status,
        trouble=depth.trouble,
        waiting=depth.waiting,
        in_flight=depth.in_flight,
        feeds=feeds,
    )
    if depth.dead_letter_queue:
        yield Station(
            id=dead_letters,
            kind="dead_letters",
            name=depth.dead_letter_queue,
            status=status,
            trouble=depth.trouble,
            waiting=depth.dead_letters,
        )

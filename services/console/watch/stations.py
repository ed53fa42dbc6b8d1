"""Stations: backlog, age and rate at each point of the event path."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError
from snsqs import WireModel
from snsqs.background import wait_for_event

from services.console.registry import Instance, RegisteredService, Registry
from services.console.watch.depths import Depth, Depths
from services.console.watch.live import Live
from services.console.watch.station import (
    Station,
    Status,
    adapter_station,
    listener_station,
    queue_stations,
    relay_station,
)
from services.console.watch.summary import summary
from shared.operations.progress import (
    ServiceProgress,
    SettledMessage,
)
from shared.runtime.service_client import ServiceUnavailable

_PROGRESS_TIMEOUT = 2.0

_CURSOR_TIMEOUT = 30.0
"""Seconds without clients after which the next one starts without the events in between."""

_PAUSE_FACTOR = 10
"""The pause after a poll is this multiple of its duration, up to twice the usual one: services that answer
slowly are busy, and polling must not add to that."""


class InstanceStatus(WireModel):
    """Status of one instance of a service."""

    name: str
    url: str
    version: str
    status: Literal["up", "down", "stale", "stopped"]
    """`stale`: it does not answer and has not renewed its registration for 30 seconds."""
    trouble: str | None
    renewed_at: datetime


class ServiceStatus(WireModel):
    """Status of a service: up while one of its instances is."""

    id: str
    is_adapter: bool
    status: Status
    trouble: str | None = None
    instances: list[InstanceStatus]


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
    """Polls all instances of the services, SNS and SQS. A background loop: while the live stream has clients,
    it polls about once per `max_age` seconds and publishes the result. A service that is down keeps its
    stations."""

    def __init__(
        self,
        registry: Registry,
        depths: Depths,
        live: Live,
        *,
        max_age: float = 1.0,
    ) -> None:
        self._registry = registry
        self._depths = depths
        self._live = live
        self._max_age = max_age
        self._known: dict[str, ServiceProgress] = {}
        self._cursors: dict[tuple[str, str], str] = {}
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
            self._cursors.clear()

    def _set_states(self, snapshot: SystemSnapshot) -> None:
        for service in snapshot.services:
            self._live.set_state("service", service.id, service)
        for station in snapshot.stations:
            self._live.set_state("station", station.id, station)

    async def _snapshot(self) -> SystemSnapshot:
        depths, services = await asyncio.gather(self._depths.all(), self._registered())
        statuses = await asyncio.gather(*map(self._poll, services))
        adapters = [each.name for each in services if each.is_adapter]
        stations = [
            *(
                station.model_copy(update=_down(status))
                for service, status in zip(services, statuses, strict=True)
                for station in self._of_service(service, adapters)
            ),
            *self._of_topics(services, depths),
        ]
        return SystemSnapshot(at=datetime.now(UTC), services=list(statuses), stations=stations)

    async def _registered(self) -> list[RegisteredService]:
        try:
            return await self._registry.services()
        except ServiceUnavailable:
            return []

    async def _poll(self, service: RegisteredService) -> ServiceStatus:
        """Poll the instances of a service; publish what they settled or decided since the last poll."""
        polled = await asyncio.gather(*(self._poll_instance(each) for each in service.instances))
        if progress := [each for each, _ in polled if each]:
            self._known[service.name] = summary(progress)
        instances = [status for _, status in polled]
        return ServiceStatus(
            id=service.name,
            is_adapter=service.is_adapter,
            status="up" if progress else "down",
            trouble=next((each.trouble for each in progress if each.trouble), None) or _trouble(instances),
            instances=instances,
        )

    async def _poll_instance(self, instance: Instance) -> tuple[ServiceProgress | None, InstanceStatus]:
        if instance.state == "stopped":
            return None, _instance(instance, "stopped", f"stopped at {instance.stopped_at:%H:%M:%S} UTC")
        client = self._registry.instance_client(instance, timeout=_PROGRESS_TIMEOUT)
        key = (client.name, instance.name)
        cursor = self._cursors.get(key)
        wanted = {"after": [cursor]} if cursor and self._live.has_viewers.is_set() else None
        try:
            progress = ServiceProgress.model_validate(await client.find("/progress", wanted))
        except ServiceUnavailable as error:
            return None, _instance(instance, "stale" if instance.state == "stale" else "down", str(error))
        except ValidationError:
            return None, _instance(instance, "down", f"{client}: /progress is not a progress report")
        self._cursors[key] = progress.cursor
        self._publish(client.name, progress)
        return progress, _instance(instance, "up", progress.trouble)

    def _publish(self, service: str, progress: ServiceProgress) -> None:
        for decision in progress.decisions:
            self._live.publish("decision", decision)
        for message in progress.settled:
            self._live.publish("settled", Settled.from_progress(service, message))
        if progress.missed:
            self._live.publish("missed", Missed(service=service, missed=progress.missed))

    def _of_service(self, service: RegisteredService, adapters: Sequence[str]) -> Iterator[Station]:
        progress = self._known.get(service.name)
        if service.is_adapter:
            yield adapter_station(service, progress)
        if service.latest.publishes:
            yield relay_station(service.name, progress.relay if progress else None, adapters)
        known = {each.queue: each for each in progress.listeners} if progress else {}
        for queue in service.queues:
            yield listener_station(service, queue, known.get(queue.queue))

    def _of_topics(self, services: Sequence[RegisteredService], depths: Sequence[Depth]) -> Iterator[Station]:
        published = Counter[str]()
        for progress in self._known.values():
            published.update(progress.bridge.published if progress.bridge else {})
        listened_to = {queue.queue for service in services for queue in service.queues}
        for topic in sorted({topic for service in services for topic in service.latest.topics}):
            queues = [depth for depth in depths if depth.topic == topic]
            yield Station(
                id=f"topic:{topic}",
                kind="topic",
                name=topic,
                counts={"published": published[topic]},
                feeds=[f"queue:{depth.queue}" for depth in queues],
            )
            for depth in queues:
                yield from queue_stations(depth, is_foreign=depth.queue not in listened_to)


def _instance(
    instance: Instance, status: Literal["up", "down", "stale", "stopped"], trouble: str | None
) -> InstanceStatus:
    return InstanceStatus(
        name=instance.name,
        url=instance.registration.url,
        version=instance.registration.version,
        status=status,
        trouble=trouble,
        renewed_at=instance.renewed_at,
    )


def _trouble(instances: Sequence[InstanceStatus]) -> str | None:
    """Return why instances do not answer that have neither stopped nor been replaced."""
    is_up = any(each.status == "up" for each in instances)
    silent = [each for each in instances if each.status == "down" or (not is_up and each.trouble)]
    if not silent:
        return None
    of = f"{len(silent)} of {len(instances)} instances: " if len(instances) > 1 else ""
    return f"{of}{silent[0].trouble}"


def _down(service: ServiceStatus) -> dict[str, Any]:
    """Return the changes of a station whose service is down: no number that may have changed."""
    if service.status == "up":
        return {}
    unknown = dict.fromkeys(("waiting", "in_flight", "oldest_seconds", "parked", "per_second", "per_minute"))
    return {"status": "down", "trouble": service.trouble, **unknown}

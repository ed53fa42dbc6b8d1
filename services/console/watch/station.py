"""Station: one point of the event path, made from a service's progress or a queue's depth."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

from pydantic import Field
from snsqs import WireModel

from services.console.registry import RegisteredService
from services.console.watch.depths import Depth
from shared.operations.progress import ListenerProgress, Pace, RelayProgress, RuleCount, ServiceProgress
from shared.operations.registration import RegisteredQueue

Status: TypeAlias = Literal["up", "down", "paused"]


class Station(WireModel):
    """One point of the event path. Members that do not apply to its kind, or are unknown, are null. Counts
    are sums over all instances that are up, each since it started."""

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
    is_foreign: bool = False
    """A queue that no registered service listens to."""
    feeds: list[str] = Field(default_factory=list)
    """Ids of the next stations."""


def relay_station(service: str, relay: RelayProgress | None, adapters: Sequence[str]) -> Station:
    station = Station(
        id=f"relay:{service}", kind="relay", name=f"{service} relay", service=service, feeds=list(adapters)
    )
    if relay is None:
        return station
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


def adapter_station(service: RegisteredService, progress: ServiceProgress | None) -> Station:
    station = Station(
        id=service.name,
        kind="adapter",
        name=service.name,
        service=service.name,
        feeds=[f"topic:{topic}" for topic in service.latest.topics],
    )
    if progress is None or progress.bridge is None:
        return station
    return station.model_copy(update={"rules": progress.bridge.rules, **_pace(progress.bridge)})


def _pace(counted: Pace) -> dict[str, Any]:
    return {
        "counts": dict(counted.counts),
        "per_second": counted.per_second,
        "per_minute": counted.per_minute,
    }


def listener_station(
    service: RegisteredService, queue: RegisteredQueue, listener: ListenerProgress | None
) -> Station:
    station = Station(
        id=f"listener:{queue.queue}",
        kind="listener",
        name=queue.queue,
        service=service.name,
        feeds=[f"relay:{service.name}"] if service.latest.publishes else [],
    )
    if listener is None:
        return station
    return station.model_copy(
        update={
            "status": "paused" if listener.is_paused else "down" if listener.trouble else "up",
            "trouble": listener.trouble,
            "waiting": listener.buffered,
            "in_flight": listener.in_flight,
            "handlers": listener.handlers,
            **_pace(listener),
        }
    )


def queue_stations(depth: Depth, *, is_foreign: bool) -> Iterator[Station]:
    """Yield a queue and its dead-letter queue."""
    status: Status = "down" if depth.trouble else "up"
    dead_letters = f"queue:{depth.dead_letter_queue}"
    listener = [] if is_foreign else [f"listener:{depth.queue}"]
    yield Station(
        id=f"queue:{depth.queue}",
        kind="queue",
        name=depth.queue,
        status=status,
        trouble=depth.trouble,
        waiting=depth.waiting,
        in_flight=depth.in_flight,
        is_foreign=is_foreign,
        feeds=[*listener, *([dead_letters] if depth.dead_letter_queue else [])],
    )
    if depth.dead_letter_queue:
        yield Station(
            id=dead_letters,
            kind="dead_letters",
            name=depth.dead_letter_queue,
            status=status,
            trouble=depth.trouble,
            waiting=depth.dead_letters,
            is_foreign=is_foreign,
        )

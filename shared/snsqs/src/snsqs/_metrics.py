"""Metrics of listeners, through the OpenTelemetry API.

They are observed when they are collected: the SDK's `Counter.add` takes as long as 2 % of a message.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from opentelemetry.metrics import CallbackOptions, Observation, get_meter


class _InFlight(Protocol):
    @property
    def in_flight(self) -> int: ...


received: Counter[str] = Counter()
redelivered: Counter[str] = Counter()
leases_lost: Counter[str] = Counter()
extensions_failed: Counter[str] = Counter()
calls_failed: Counter[tuple[str, str]] = Counter()
"""By queue and action."""

_consumers: dict[_InFlight, str] = {}


@contextmanager
def observing_in_flight(queue: str, consumer: _InFlight) -> Iterator[None]:
    """Include the running handlers of a consumer in `messages_in_flight` while the body runs."""
    _consumers[consumer] = queue
    try:
        yield
    finally:
        del _consumers[consumer]


Observe = Callable[[CallbackOptions], Iterator[Observation]]


def _by_queue(counts: Counter[str]) -> Observe:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for queue, count in list(counts.items()):  # a reader may call from its own thread
            yield Observation(count, {"queue": queue})

    return observe


def _observe_received(_: CallbackOptions) -> Iterator[Observation]:
    """With the attributes of OpenTelemetry's semantic conventions for messaging."""
    for queue, count in list(received.items()):
        attributes = {
            "messaging.system": "aws_sqs",
            "messaging.operation.name": "receive",
            "messaging.destination.name": queue,
        }
        yield Observation(count, attributes)


def _observe_calls_failed(_: CallbackOptions) -> Iterator[Observation]:
    for (queue, action), count in list(calls_failed.items()):
        yield Observation(count, {"queue": queue, "action": action})


def _observe_in_flight(_: CallbackOptions) -> Iterator[Observation]:
    running: Counter[str] = Counter()
    for consumer, queue in list(_consumers.items()):
        running[queue] += consumer.in_flight
    for queue, count in running.items():
        yield Observation(count, {"queue": queue})


_meter = get_meter("snsqs")
_meter.create_observable_counter(
    "messaging.client.consumed.messages",
    [_observe_received],
    unit="{message}",
    description="Messages received.",
)
_meter.create_observable_counter(
    "messages_redelivered",
    [_by_queue(redelivered)],
    description="Messages received that were received before.",
)
_meter.create_observable_counter(
    "leases_lost", [_by_queue(leases_lost)], description="Messages whose handler was cancelled for its lease."
)
_meter.create_observable_counter(
    "lease_extensions_failed",
    [_by_queue(extensions_failed)],
    description="Leases that one call did not extend; most are extended by the next.",
)
_meter.create_observable_gauge(
    "messages_in_flight", [_observe_in_flight], description="Running handlers by queue."
)
_meter.create_observable_counter(
    "queue_calls_failed", [_observe_calls_failed], description="Calls of SQS that failed, by action."
)

"""Contract of handlers: retries, time limits, threads, partial batches. One suite for every engine."""

import asyncio
import itertools
import time
from typing import Any

import pytest
from snsqs import Delivery, ListenerMisconfigured, ListenerOptions, MessageOutcome, RetryAfter

from tests.serving import eventually
from tests.snsqs.engines import Engine, listening
from tests.snsqs.queues import Painted, fifo, listener, message


async def test_retry_after_sets_the_time_of_the_next_receive(engine: Engine) -> None:
    """Longer than the backoff would be; it counts as a receive."""
    times: list[float] = []
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        times.append(time.monotonic())
        counts.append(delivery.receive_count)
        if delivery.receive_count < 3:
            raise RetryAfter(3, "too many requests")

    async with listening(engine, handler, max_receive_count=3, min_backoff=0, max_backoff=0) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty, within=30)
        assert await bench.dead_letters() == []
    assert counts == [1, 2, 3]
    assert all(later - earlier >= 2.9 for earlier, later in itertools.pairwise(times))


async def test_retry_after_at_the_last_permitted_receive_ends_in_a_dead_letter(engine: Engine) -> None:
    """With the reason that the handler gave."""

    @listener
    async def handler(event: Painted) -> None:
        raise RetryAfter(1, "too many requests")

    async with listening(engine, handler, max_receive_count=2) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters, within=30)
    assert letter.reason == "RetryAfter: retry after 1 s: too many requests"
    assert letter.details["receiveCount"] == 2


async def test_retry_after_holds_back_the_rest_of_its_fifo_group_only(engine: Engine) -> None:
    """The messages behind it wait for the same time; the other group does not."""
    handled: list[tuple[str, int]] = []

    @fifo
    async def handler(event: Painted, delivery: Delivery) -> None:
        if (event.source.id, event.source.version, delivery.receive_count) == ("a", 0, 1):
            raise RetryAfter(2)
        handled.append((event.source.id, event.source.version))

    async with listening(engine, handler) as bench:
        await bench.publish(*(message(subject=group, version=v) for v in range(3) for group in ("a", "b")))
        await eventually(bench.is_empty, within=30)
    assert handled == [("b", 0), ("b", 1), ("b", 2), ("a", 0), ("a", 1), ("a", 2)]


async def test_retry_after_applies_to_a_whole_batch(engine: Engine) -> None:
    """It is not handled again one by one, because the error is not about one of its messages."""
    counts: list[tuple[int, int]] = []

    @listener
    async def handler(events: list[Painted], delivery: Delivery) -> None:
        counts.append((len(events), delivery.receive_count))
        if delivery.receive_count == 1:
            raise RetryAfter(1)

    async with listening(engine, handler, max_concurrency=1) as bench:
        await bench.publish(*(message(subject=str(number)) for number in range(20)))
        await eventually(bench.is_empty, within=30)
    assert len([size for size, count in counts if count == 1]) < 10
    assert sum(size for size, count in counts if count == 1) == 20
    assert sum(size for size, count in counts if count == 2) == 20


@pytest.mark.parametrize("seconds", [-1, 43_201, float("nan"), float("inf")])
def test_a_wait_that_sqs_does_not_support_is_an_error(seconds: float) -> None:
    """It names the value and the range."""
    with pytest.raises(ValueError, match=r"RetryAfter: seconds is .*; set 0 to 43200"):
        RetryAfter(seconds)


async def test_a_handler_that_takes_too_long_is_cancelled_and_retried(engine: Engine) -> None:
    """After `handler_timeout`; the dead letter has the reason."""
    ended: list[str] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            ended.append(f"cancelled {delivery.receive_count}")
            raise

    async with listening(engine, handler, handler_timeout=0.2, max_receive_count=2) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters, within=30)
        await eventually(bench.is_empty)
    assert letter.reason == "HandlerTimedOut: timed out after 0.2 s"
    assert ended == ["cancelled 1", "cancelled 2"]


async def test_a_handler_that_ignores_its_cancellation_is_not_acknowledged(engine: Engine) -> None:
    """Its message fails although it returns, or raises another error."""

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            if delivery.receive_count == 1:
                return
            raise RuntimeError("while cleaning up") from None

    async with listening(engine, handler, handler_timeout=0.2, max_receive_count=2) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters, within=30)
    assert letter.reason == "HandlerTimedOut: timed out after 0.2 s"
    assert letter.details["receiveCount"] == 2


async def test_a_timeout_of_the_handlers_own_is_an_ordinary_error(engine: Engine) -> None:
    """It is not taken for the time limit."""

    @listener
    async def handler(event: Painted) -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(20)

    async with listening(engine, handler, handler_timeout=10, max_receive_count=1) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters)
    assert letter.reason == "TimeoutError: "


async def test_a_lease_is_not_extended_beyond_its_maximum(engine: Engine) -> None:
    """Then the handler is cancelled, although the queue would extend the lease, and the message is
    delivered again."""
    held: list[float] = []
    outcomes: list[MessageOutcome] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        if delivery.receive_count > 1:
            return
        began = time.monotonic()
        try:
            await asyncio.sleep(20)
        finally:
            held.append(time.monotonic() - began)

    async with listening(
        engine, handler, visibility=2, max_lease_extension=4, observer=outcomes.append
    ) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty, within=30)
    assert 2.5 < held[0] < 4.5
    assert [each.outcome for each in outcomes] == ["lease_lost", "handled"]
    assert outcomes[0].reason == "LeaseLost: the lease ended before the handler; its maximum is 4 s"


async def test_the_backoff_may_be_a_function_of_the_receive_count(engine: Engine) -> None:
    """Its result is the time of the next receive; a value below 0 is 0."""
    asked: list[int] = []
    times: list[float] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        times.append(time.monotonic())
        if delivery.receive_count < 4:
            raise RuntimeError("not yet")

    def backoff(receive_count: int) -> float:
        asked.append(receive_count)
        return {1: 2.5, 2: -5}.get(receive_count, float("nan"))

    async with listening(engine, handler, backoff=backoff) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty, within=30)
    assert asked == [1, 2, 3]
    assert times[1] - times[0] >= 2.4
    assert times[2] - times[1] < 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_concurrency": 0}, "max_concurrency is 0; set a whole number of at least 1"),
        ({"max_concurrency": True}, "max_concurrency is True; set a whole number of at least 1"),
        ({"max_pollers": 0}, "max_pollers is 0; set a whole number of at least 1"),
        ({"poll_timeout": 25}, "poll_timeout is 25; set a whole number from 0 to 20"),
        ({"poll_timeout": 1.5}, "poll_timeout is 1.5; set a whole number from 0 to 20"),
        ({"max_backoff": 86_400}, "max_backoff is 86400; set seconds from 0 to 43200"),
        ({"min_backoff": -1}, "min_backoff is -1; set seconds from 0 to 43200"),
        ({"min_backoff": float("nan")}, "min_backoff is nan; set seconds from 0 to 43200"),
        ({"min_backoff": 10, "max_backoff": 5}, "min_backoff is 10; set at most max_backoff, 5"),
        ({"max_unavailable": float("inf")}, "max_unavailable is inf; set seconds of at least 0"),
        ({"shutdown_timeout": "12"}, "shutdown_timeout is '12'; set seconds of at least 0"),
        ({"handler_timeout": 0}, "handler_timeout is 0; set seconds of at least 0.001"),
        ({"max_lease_extension": 50_000}, "max_lease_extension is 50000; set seconds from 0.001 to 43200"),
        ({"unknown_types": "drop"}, "unknown_types is 'drop'; set 'dead-letter' or 'ignore' or 'fail'"),
        ({"manual_ack": "false"}, "manual_ack is 'false'; set True or False"),
        ({"backoff": 5}, "backoff is 5; set a function of the receive count"),
        ({"backoff": lambda n: n, "max_backoff": 5}, "max_backoff is 5; leave it unset"),
    ],
)
def test_options_that_cannot_work_are_found_at_start(options: dict[str, Any], text: str) -> None:
    """The error names option, value and remedy."""
    with pytest.raises(ListenerMisconfigured) as raised:
        ListenerOptions(**options)
    assert str(raised.value).startswith(f"ListenerOptions: {text}")

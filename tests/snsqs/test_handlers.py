"""Contract of handlers: retries, time limits, threads, partial batches. One suite for every engine."""

import asyncio
import functools
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any

import pytest
from snsqs import (
    Acknowledgement,
    BatchFailures,
    Delivery,
    Lease,
    ListenerMisconfigured,
    ListenerOptions,
    MessageHandler,
    MessageOutcome,
    RetryAfter,
    TerminalError,
    bindings,
    provide,
)
from snsqs.postgres import Transaction
from snsqs.testing import MemoryBroker, run_on_virtual_clock

from tests.serving import eventually
from tests.snsqs.engines import AwsEngine, Engine, listening
from tests.snsqs.queues import TOPIC, Painted, Sold, fifo, listener, message


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
        ({"max_messages_per_poll": 11}, "max_messages_per_poll is 11; set a whole number from 1 to 10"),
        ({"poll_timeout": 25}, "poll_timeout is 25; set a whole number from 1 to 20"),
        ({"poll_timeout": 0}, "poll_timeout is 0; set a whole number from 1 to 20"),
        ({"poll_timeout": 1.5}, "poll_timeout is 1.5; set a whole number from 1 to 20"),
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


def test_manual_acknowledgement_needs_a_way_to_acknowledge() -> None:
    """Otherwise every message would become a dead letter, although its handler succeeds."""

    @listener
    async def on_painted(event: Painted, acknowledgement: Acknowledgement) -> None: ...

    @listener
    async def on_sold(event: Sold) -> None: ...

    async def listen() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_painted, on_sold, options=ListenerOptions(manual_ack=True))

    with pytest.raises(
        ListenerMisconfigured, match="on_sold: manual_ack is True, but no parameter has the type"
    ):
        asyncio.run(listen())


subject: ContextVar[str] = ContextVar("subject")


class _Subject:
    """Middleware that sets a context variable."""

    provides = ()

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        subject.set(delivery.message.subject)
        await proceed(delivery)


async def test_def_handlers_run_in_as_many_threads_as_the_listener_has_slots(engine: Engine) -> None:
    """Concurrently, beside the event loop, and in the context of their message."""
    barrier = threading.Barrier(3, timeout=20)
    threads: set[int] = set()
    seen: list[tuple[str, str]] = []

    @listener
    def handler(event: Painted, lease: Lease) -> None:
        assert not lease.is_lost
        threads.add(threading.get_ident())
        barrier.wait()
        seen.append((event.source.id, subject.get()))

    async with listening(engine, handler, middleware=(_Subject(),), max_concurrency=3) as bench:
        await bench.publish(*(message(subject=str(number)) for number in range(9)))
        await eventually(bench.is_empty, within=30)
    assert sorted(seen) == [(str(number), str(number)) for number in range(9)]
    assert len(threads) == 3
    assert threading.get_ident() not in threads


async def test_a_blocking_handler_stalls_neither_event_loop_nor_lease(engine: Engine) -> None:
    """Its lease is extended while it blocks for longer than the visibility timeout."""
    calls: list[int] = []
    released = threading.Event()

    @listener
    def handler(event: Painted, delivery: Delivery) -> None:
        calls.append(delivery.receive_count)
        released.wait(20)

    async with listening(engine, handler, visibility=2) as bench:
        await bench.publish(message())
        ticks = 0
        while ticks < 45:
            await asyncio.sleep(0.1)
            ticks += bool(calls)
        released.set()
        await eventually(bench.is_empty)
    assert calls == [1]


async def test_an_error_of_a_def_handler_counts_as_that_of_any_handler(engine: Engine) -> None:
    """Also one that ends threads or iterations only."""
    raised = iter([RetryAfter(0), StopIteration(), SystemExit(), TerminalError("never")])

    @listener
    def handler(event: Painted) -> None:
        raise next(raised)

    async with listening(engine, handler, min_backoff=0, max_backoff=0) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters, within=30)
    assert letter.reason == "TerminalError: never"
    assert letter.details["receiveCount"] == 4
    assert "handler" in letter.details["notes"][0]


async def test_a_def_handler_that_is_overdue_keeps_its_slot(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Visibly, until its thread returns; then its message fails, and its slot is free."""
    released = threading.Event()
    counts: list[int] = []
    outcomes: list[MessageOutcome] = []

    @listener
    def handler(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        if delivery.receive_count == 1:
            released.wait(20)

    async def is_overdue() -> bool:
        return any("handler thread overdue" in record.getMessage() for record in caplog.records)

    async with listening(
        engine, handler, handler_timeout=0.3, max_concurrency=1, visibility=2, observer=outcomes.append
    ) as bench:
        await bench.publish(message())
        await eventually(is_overdue)
        await asyncio.sleep(2.5)  # longer than the visibility timeout
        assert (bench.listener.in_flight, counts, outcomes) == (1, [1], [])
        released.set()
        await eventually(bench.is_empty, within=30)
    assert counts == [1, 2]
    assert [each.outcome for each in outcomes] == ["failed", "handled"]
    assert outcomes[0].reason == "HandlerTimedOut: timed out after 0.3 s"


async def test_a_def_handler_that_lost_its_lease_keeps_its_slot(engine: Engine) -> None:
    """Its message is not acknowledged, although it returned without an error."""
    released = threading.Event()
    outcomes: list[MessageOutcome] = []
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    @listener
    def handler(event: Painted) -> None:
        loop.call_soon_threadsafe(began.set)
        released.wait(20)

    async with listening(engine, handler, visibility=2, observer=outcomes.append) as bench:
        await bench.publish(message())
        await began.wait()
        await bench.purge()
        await asyncio.sleep(3)
        assert (bench.listener.in_flight, outcomes) == (1, [])
        released.set()

        async def is_settled() -> bool:
            return bool(outcomes) and bench.listener.in_flight == 0

        await eventually(is_settled)
    assert [each.outcome for each in outcomes] == ["lease_lost"]


async def test_stopping_abandons_a_thread_that_does_not_return(engine: Engine) -> None:
    """After `shutdown_timeout`; its message is visible at once."""
    released = threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    @listener
    def handler(event: Painted) -> None:
        loop.call_soon_threadsafe(began.set)
        released.wait(60)

    async with listening(engine, handler, shutdown_timeout=1.0, poll_timeout=1) as bench:
        await bench.publish(message())
        await began.wait()
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 10
    released.set()

    async def is_requeued() -> bool:
        return await bench.counts() == (1, 0)

    await eventually(is_requeued)


def test_the_virtual_clock_waits_for_def_handlers() -> None:
    """It has real speed meanwhile, so that no timeout ends while a thread works for a moment."""
    times: list[float] = []

    @listener
    def handler(event: Painted) -> None:
        time.sleep(0.2)

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler, options=ListenerOptions(handler_timeout=10))
            await broker.topic(TOPIC).send([message()])
            await broker.join()
            times.append(asyncio.get_running_loop().time())

    run_on_virtual_clock(scenario())
    assert 0.2 <= times[0] < 10


class _Session:
    """Something asynchronous."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def test_a_def_handler_cannot_take_what_belongs_to_the_event_loop() -> None:
    """ListenerMisconfigured names handler, parameter, type and remedy."""

    @listener
    def with_transaction(event: Painted, tx: Transaction) -> None: ...

    @listener
    def with_acknowledgement(event: Painted, tx: Acknowledgement) -> None: ...

    @listener
    def with_session(event: Painted, tx: _Session) -> None: ...

    for function, kind in (
        (with_transaction, "Transaction"),
        (with_acknowledgement, "Acknowledgement"),
        (with_session, "_Session"),
    ):
        with pytest.raises(ListenerMisconfigured) as raised:
            bindings([function])
        assert f"{function.__name__} takes tx of type {kind}, which belongs to the event loop" in str(
            raised.value
        )
        assert "`async def`" in str(raised.value)


async def test_handlers_may_be_decorated_or_have_keyword_only_parameters(engine: Engine) -> None:
    """A decorator that returns a `def` around an `async def` runs on the event loop."""
    seen: list[tuple[str, int]] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            asyncio.get_running_loop()
            return function(*args, **kwargs)

        return wrapper

    @listener
    @counted
    async def on_painted(event: Painted, *, delivery: Delivery) -> None:
        seen.append((event.source.id, delivery.receive_count))

    @listener
    def on_sold(*, event: Sold) -> None:
        seen.append((event.source.id, 0))

    async with listening(engine, on_painted, on_sold) as bench:
        await bench.publish(message(subject="1"), message("Sold", subject="2"))
        await eventually(bench.is_empty)
        assert await bench.dead_letters() == []
    assert sorted(seen) == [("1", 1), ("2", 0)]


async def test_events_that_a_batch_handler_reports_fail_alone(engine: Engine) -> None:
    """The others are acknowledged, and handled once; each error decides about its own message."""
    sizes: list[int] = []
    handled: list[str] = []
    outcomes: list[MessageOutcome] = []

    @listener
    async def handler(events: Sequence[Painted], failures: BatchFailures, delivery: Delivery) -> None:
        sizes.append(len(events))
        for event in events:
            if event.source.id == "3":
                failures.add(event, TerminalError("three is bad"))
            elif event.source.id == "5" and delivery.receive_count == 1:
                failures.add(event, RuntimeError("not yet"))
            else:
                handled.append(event.source.id)

    async with listening(engine, handler, max_concurrency=1, observer=outcomes.append) as bench:
        await bench.publish(*(message(subject=str(number)) for number in range(10)))
        [letter] = await eventually(bench.dead_letters)
        await eventually(bench.is_empty, within=30)
    assert letter.reason == "TerminalError: three is bad"
    assert sorted(handled) == [str(number) for number in range(10) if number != 3]
    assert sum(sizes) == 11
    assert sorted(each.outcome for each in outcomes) == ["dead_letter", "failed", *["handled"] * 9]


async def test_a_reported_failure_holds_back_the_rest_of_its_fifo_group(engine: Engine) -> None:
    """Also the messages that are not part of the batch."""
    if isinstance(engine, AwsEngine) and "SNS_SQS_URL" in os.environ:
        pytest.skip("LocalStack delivers later messages of a group while it requeues earlier ones one by one")
    handled: list[int] = []

    @fifo
    async def handler(events: list[Painted], failures: BatchFailures, delivery: Delivery) -> None:
        for event in events:
            if failures.errors or (event.source.version == 2 and delivery.receive_count == 1):
                failures.add(event, RuntimeError("not yet"))
            else:
                handled.append(event.source.version)

    async with listening(engine, handler, max_concurrency=1) as bench:
        await bench.publish(*(message(subject="a", version=version) for version in range(15)))
        await eventually(bench.is_empty, within=30)
    assert handled == list(range(15))


def test_batch_failures_are_of_batches() -> None:
    """Of a handler that takes a batch, and of one of its own events."""

    @listener
    async def single(event: Painted, failures: BatchFailures) -> None: ...

    @listener
    async def manual(
        events: list[Painted], failures: BatchFailures, acknowledgement: Acknowledgement
    ) -> None: ...

    for function, text in ((single, "but no batch; raise the error"), (manual, "take one of them")):
        with pytest.raises(ListenerMisconfigured, match=f"{function.__name__} takes BatchFailures.* {text}"):
            bindings([function])
    with pytest.raises(ValueError, match="'other' is not an event of this batch"):
        BatchFailures().add("other", RuntimeError())


class Session:
    """A resource for tests."""


async def test_a_resource_is_opened_and_closed_for_each_delivery(engine: Engine) -> None:
    """The handler receives it by type; the exit receives the handler's error."""
    steps: list[str] = []

    @asynccontextmanager
    async def session(delivery: Delivery) -> AsyncIterator[Session]:
        steps.append(f"open {delivery.receive_count}")
        try:
            yield Session()
        except RuntimeError as error:
            steps.append(f"roll back after {error}")
            raise
        steps.append("commit")

    @listener
    async def handler(event: Painted, session: Session, delivery: Delivery) -> None:
        assert type(session) is Session
        if delivery.receive_count == 1:
            raise RuntimeError("no")

    async with listening(engine, handler, middleware=(provide(Session, session),)) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty, within=30)
    assert steps == ["open 1", "roll back after no", "open 2", "commit"]


async def test_errors_of_opening_and_closing_a_resource_are_errors_of_the_message(engine: Engine) -> None:
    """An exit that suppresses the error of the handler does not make the message handled."""
    handled: list[int] = []

    @asynccontextmanager
    async def session(delivery: Delivery) -> AsyncIterator[Session]:
        if delivery.receive_count == 1:
            raise RuntimeError("cannot open")
        with suppress(RuntimeError):
            yield Session()
        if delivery.receive_count == 2:
            raise RuntimeError("cannot close")

    @listener
    async def handler(event: Painted, session: Session, delivery: Delivery) -> None:
        handled.append(delivery.receive_count)
        if delivery.receive_count == 3:
            raise RuntimeError("never")

    async with listening(
        engine, handler, middleware=(provide(Session, session),), max_receive_count=3, backoff=lambda _: 0
    ) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters, within=30)
    assert letter.reason == "RuntimeError: never"
    assert handled == [2, 3]

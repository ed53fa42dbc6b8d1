"""Outcomes: whatever a handler, middleware, converter or other code of an application does, its message is
settled, the listener goes on, and the outcome is reported."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

import pytest
from snsqs import (
    Acknowledgement,
    BatchFailures,
    Delivery,
    JsonConverter,
    ListenerHealth,
    ListenerOptions,
    Message,
    MessageHandler,
    MessageOutcome,
    Middleware,
    QueueSettings,
    TerminalError,
    Unavailable,
    provide,
    sqs_listener,
)
from snsqs.testing import Faults, MemoryBroker, VirtualClockLoop, run_on_virtual_clock

from tests.snsqs.queues import QUEUE, TOPIC, Handler, Painted, listener, message


class PanicException(BaseException):
    """Derived as pyo3_runtime.PanicException, which a panic in a Rust extension raises."""


class Unprintable(Exception):
    """An error that cannot be formatted."""

    def __str__(self) -> str:
        raise KeyError("detail")

    __repr__ = __str__


class Panicking(Exception):
    """An error whose formatting panics."""

    def __str__(self) -> str:
        raise PanicException("no str")

    __repr__ = __str__


@dataclass(frozen=True)
class Frozen(Exception):
    """An error to which nothing can be assigned, as to any frozen dataclass."""

    code: int = 7


@dataclass(frozen=True)
class FrozenTerminal(TerminalError):
    """A frozen error that says that a retry cannot help."""

    code: int = 7


class Falsy(Exception):
    """An error that counts its details, of which there are none."""

    def __len__(self) -> int:
        return 0


class OddNotes(Exception):
    """An error whose notes are no list."""

    __notes__ = ("a tuple",)  # type: ignore[assignment]


ERRORS: list[Callable[[], BaseException]] = [
    lambda: PanicException("index out of bounds"),
    lambda: SystemExit(0),
    lambda: KeyboardInterrupt(),
    lambda: GeneratorExit(),
    lambda: StopAsyncIteration(),
    lambda: asyncio.CancelledError(),
    lambda: BaseExceptionGroup("several", [PanicException("one"), ValueError("two")]),
    lambda: Unprintable(),
    lambda: Panicking(),
    lambda: Frozen(),
    lambda: FrozenTerminal(),
    lambda: Falsy(),
    lambda: OddNotes(),
]

each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error()).__name__)


@dataclass
class Run:
    """Result of a listener that received a bad message, and a good one later."""

    handled: list[str]
    outcomes: list[str]
    reasons: list[str]
    """Reasons of dead letters."""
    health: ListenerHealth


def run(
    handler: Handler, *, options: ListenerOptions | None = None, middleware: tuple[Middleware, ...] = ()
) -> Run:
    """Deliver the message `bad` and, after its last outcome, the message `good`."""

    async def scenario() -> Run:
        async with MemoryBroker(settings=QueueSettings(max_receive_count=2)) as broker:
            [container] = broker.listen(handler, options=options, middleware=middleware)
            await broker.topic(TOPIC).send([message(subject="bad")])
            await broker.join(raise_errors=False)
            health = container.health
            await broker.topic(TOPIC).send([message(subject="good")])
            await broker.join(raise_errors=False)
            return Run(
                [event.source.id for event in broker.handled(Painted)],
                [each.outcome for each in broker.outcomes if each.subject == "bad"],
                [each.reason for each in broker.dead_letters()],
                health,
            )

    return run_on_virtual_clock(scenario())


def assert_failed(result: Run, error: BaseException) -> None:
    """The bad message is a dead letter for the error, at once if it is terminal; the good one is handled."""
    is_terminal = isinstance(error, TerminalError)
    assert result.outcomes == (["dead_letter"] if is_terminal else ["failed", "dead_letter"])
    [reason] = result.reasons
    first = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
    assert type(first).__name__ in reason
    assert result.handled == ["good"]


@each_error
def test_a_message_fails_whatever_its_handler_raises(error: Callable[[], BaseException]) -> None:
    @listener
    async def handler(event: Painted) -> None:
        if event.source.id == "bad":
            raise error()

    assert_failed(run(handler), error())


@each_error
def test_a_message_fails_whatever_its_def_handler_raises(error: Callable[[], BaseException]) -> None:
    """In its thread."""

    @listener
    def handler(event: Painted) -> None:
        if event.source.id == "bad":
            raise error()

    assert_failed(run(handler), error())


@each_error
def test_a_message_fails_whatever_its_batch_handler_raises(error: Callable[[], BaseException]) -> None:
    @listener
    async def handler(events: list[Painted]) -> None:
        if events[0].source.id == "bad":
            raise error()

    assert_failed(run(handler), error())


@each_error
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_message_fails_whatever_middleware_raises(error: Callable[[], BaseException], when: str) -> None:
    class Raising:
        provides = ()

        async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
            if when == "after":
                await proceed(delivery)
            if delivery.message.subject == "bad":
                raise error()
            if when == "before":
                await proceed(delivery)

    @listener
    async def handler(event: Painted) -> None: ...

    assert_failed(run(handler, middleware=(Raising(),)), error())


@each_error
@pytest.mark.parametrize("where", ["enter", "handler", "exit"])
def test_a_message_fails_whatever_a_provided_resource_raises(
    error: Callable[[], BaseException], where: str
) -> None:
    """On entry, around the handler, and on exit; with outer resources that see the error."""
    rolled_back: list[str] = []

    @asynccontextmanager
    async def outer(delivery: Delivery) -> AsyncIterator[str]:
        try:
            yield "resource"
        except BaseException:
            rolled_back.append(delivery.message.subject)
            raise

    @asynccontextmanager
    async def inner(delivery: Delivery) -> AsyncIterator[int]:
        is_bad = delivery.message.subject == "bad"
        if where == "enter" and is_bad:
            raise error()
        yield 1
        if where == "exit" and is_bad:
            raise error()

    @listener
    async def handler(event: Painted, resource: str, number: int) -> None:
        if where == "handler" and event.source.id == "bad":
            raise error()

    result = run(handler, middleware=(provide(str, outer), provide(int, inner)))
    assert_failed(result, error())
    assert set(rolled_back) == {"bad"}


def test_an_exit_that_suppresses_a_cancellation_does_not_make_a_message_handled() -> None:
    @asynccontextmanager
    async def suppressing(delivery: Delivery) -> AsyncIterator[str]:
        with contextlib.suppress(BaseException):
            yield "resource"

    @listener
    async def handler(event: Painted, resource: str) -> None:
        if event.source.id == "bad":
            raise asyncio.CancelledError

    assert_failed(run(handler, middleware=(provide(str, suppressing),)), asyncio.CancelledError())


@each_error
@pytest.mark.parametrize("method", ["to_message", "from_message"])
def test_a_message_is_a_dead_letter_whatever_its_converter_raises(
    error: Callable[[], BaseException], method: str
) -> None:
    """A panic, such as one in pydantic-core, is tried again; an exception is not."""

    class Raising(JsonConverter):
        def to_message(self, body: str, attributes: object) -> Message[str]:
            if method == "to_message" and '"bad"' in body:
                raise error()
            return super().to_message(body, attributes)  # type: ignore[arg-type]

        def from_message(self, message: Message[str], event_type: type) -> object:  # type: ignore[override]
            if method == "from_message" and message.subject == "bad":
                raise error()
            return super().from_message(message, event_type)

    @sqs_listener(QUEUE, topic=TOPIC, converter=Raising())
    async def handler(event: Painted) -> None: ...

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            await broker.topic(TOPIC).send([message(subject="bad"), message(subject="good")])
            await broker.join(raise_errors=False)
            [letter] = broker.dead_letters()
            assert letter.message.subject == "bad"
            assert [each.subject for each in broker.outcomes if each.outcome == "handled"] == ["good"]

    run_on_virtual_clock(scenario())


@each_error
def test_a_backoff_function_may_raise_anything(error: Callable[[], BaseException]) -> None:
    """The default backoff is used."""

    def backoff(receive_count: int) -> NoReturn:
        raise error()

    @listener
    async def handler(event: Painted) -> None:
        if event.source.id == "bad":
            raise ValueError("bad")

    assert_failed(run(handler, options=ListenerOptions(backoff=backoff)), ValueError("bad"))


@each_error
def test_an_observer_may_raise_anything(error: Callable[[], BaseException]) -> None:
    """The message is settled, and the listener goes on."""

    def observer(outcome: MessageOutcome) -> NoReturn:
        raise error()

    @listener
    async def handler(event: Painted) -> None: ...

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler, observer=observer)
            for subject in ("first", "second"):
                await broker.topic(TOPIC).send([message(subject=subject)])
                await broker.join()
            assert [event.source.id for event in broker.handled(Painted)] == ["first", "second"]
            assert "observer failed" in str(container.degraded_reason)

    run_on_virtual_clock(scenario())


def test_a_panic_is_logged_and_degrades_the_health_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    @listener
    async def handler(event: Painted) -> None:
        if event.source.id == "bad":
            raise PanicException("index out of bounds")

    health = run(handler).health
    assert health.state == "degraded"
    assert health.reason == "handler failed with PanicException: index out of bounds"
    assert "handler failed" in caplog.messages
    assert "PanicException: index out of bounds" in caplog.text


def test_a_handler_that_cancels_itself_leaves_its_worker_intact() -> None:
    """The next messages of the same worker are handled, with a concurrency of one."""

    @listener
    async def handler(event: Painted) -> None:
        if event.source.id == "bad":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1)

    assert_failed(run(handler, options=ListenerOptions(max_concurrency=1)), asyncio.CancelledError())


def test_a_cancellation_that_no_await_delivered_is_withdrawn() -> None:
    """It would cancel the acknowledgement, or the handling of the next message."""

    @listener
    async def handler(event: Painted) -> None:
        if event.source.id == "bad":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    result = run(handler, options=ListenerOptions(max_concurrency=1))
    assert (result.handled, result.outcomes) == (["bad", "good"], ["handled"])


async def deaf(ended: asyncio.Event) -> None:
    """Ignore every cancellation until the event is set."""
    while not ended.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await ended.wait()


@pytest.mark.parametrize("limit", ["handler_timeout", "lease", "shutdown"])
def test_a_handler_that_swallows_its_cancellation_is_not_acknowledged(limit: str) -> None:
    """Of whatever limit: the outcome names it, and the message is delivered again."""

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        if delivery.receive_count == 1:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def scenario() -> tuple[list[str], int]:
        options = ListenerOptions(
            handler_timeout=20 if limit == "handler_timeout" else None,
            max_lease_extension=20 if limit == "lease" else None,
        )
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler, options=options)
            await broker.topic(TOPIC).send([message()])
            await asyncio.sleep(5 if limit == "shutdown" else 100)
            container.stop()
            await asyncio.sleep(15)
            return [each.outcome for each in broker.outcomes], len(broker.queue(QUEUE).messages)

    outcomes, left = run_on_virtual_clock(scenario())
    assert (outcomes, left) == {
        "handler_timeout": (["failed", "handled"], 0),
        "lease": (["lease_lost", "handled"], 0),
        "shutdown": (["cancelled"], 1),
    }[limit]


@pytest.mark.parametrize("limit", ["handler_timeout", "lease"])
def test_a_handler_that_runs_on_after_its_cancellation_degrades_the_health(
    limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it ends, by its name; the log has it, too."""
    ended = asyncio.Event()

    @listener
    async def handler(event: Painted) -> None:
        await deaf(ended)

    async def scenario() -> list[str | None]:
        options = ListenerOptions(
            handler_timeout=20 if limit == "handler_timeout" else None,
            max_lease_extension=20 if limit == "lease" else None,
        )
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler, options=options)
            await broker.topic(TOPIC).send([message()])
            await asyncio.sleep(10)
            reasons = [container.degraded_reason]
            await asyncio.sleep(70)
            reasons.append(container.degraded_reason)
            ended.set()
            await broker.join()
            await asyncio.sleep(301)
            return [*reasons, container.degraded_reason]

    before, during, after = run_on_virtual_clock(scenario())
    assert (before, after) == (None, None)
    assert during is not None
    assert "of 10 handlers run on after their cancellation" in during
    assert "handler" in during
    assert caplog.messages.count("handlers do not end") == 1


def test_handlers_that_hang_do_not_make_a_listener_deaf_silently(caplog: pytest.LogCaptureFixture) -> None:
    """Ten handlers that wait for ever, without a time limit: health and log say that nothing is received."""

    @listener
    async def handler(event: Painted) -> None:
        await asyncio.Event().wait()

    async def scenario() -> tuple[str | None, ListenerHealth]:
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler)
            await broker.topic(TOPIC).send([message(subject=str(number)) for number in range(10)])
            await asyncio.sleep(14 * 60)
            before = container.degraded_reason
            await asyncio.sleep(2 * 60)
            return before, container.health

    before, health = run_on_virtual_clock(scenario())
    assert before is None
    assert health.state == "degraded"
    assert str(health.reason).startswith("no message is received: all 10 handlers have run for 900 s: ")
    assert str(health.reason).endswith("; set ListenerOptions.handler_timeout")
    assert caplog.messages.count("handlers do not end") == 1


def test_threads_that_hang_do_not_make_a_listener_deaf_silently() -> None:
    """A thread that timed out keeps its slot until it returns; health says so."""
    release = threading.Event()

    @listener
    def handler(event: Painted) -> None:
        release.wait(60)

    async def scenario() -> list[ListenerHealth]:
        async with MemoryBroker() as broker:
            options = ListenerOptions(max_concurrency=2, handler_timeout=0.1)
            [container] = broker.listen(handler, options=options)
            await broker.topic(TOPIC).send([message(subject=str(number)) for number in range(2)])
            while "no message is received" not in str(container.degraded_reason):
                await asyncio.sleep(0.05)
            found = [container.health]
            release.set()
            await broker.join()
            return [*found, container.health]

    hanging, after = asyncio.run(scenario())
    assert (hanging.state, hanging.in_flight) == ("degraded", 2)
    assert str(hanging.reason).startswith("no message is received: all 2 handlers have run for 0.1 s: ")
    assert (after.state, after.in_flight) == ("listening", 0)


def test_a_handler_that_waits_for_a_dependency_is_named_by_the_health() -> None:
    is_down = True

    @listener
    async def handler(event: Painted) -> None:
        if is_down:
            raise Unavailable("order service: no answer")

    async def scenario() -> tuple[str | None, str | None]:
        nonlocal is_down
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler)
            await broker.topic(TOPIC).send([message()])
            await asyncio.sleep(30)
            during = container.degraded_reason
            is_down = False
            await broker.join()
            return during, container.degraded_reason

    assert run_on_virtual_clock(scenario()) == (
        "1 of 10 handlers wait for a dependency: order service: no answer",
        None,
    )


def test_a_handler_that_blocks_the_event_loop_past_its_lease_has_lost_it() -> None:
    """It is not reported as handled, and not acknowledged; messages that waited meanwhile are not started."""
    ran: list[str] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        ran.append(event.source.id)
        if len(ran) == 1:
            time.sleep(1.5)  # noqa: ASYNC251 - blocks the event loop on purpose

    async def scenario() -> None:
        async with MemoryBroker(settings=QueueSettings(visibility=1)) as broker:
            [container] = broker.listen(handler)
            await broker.topic(TOPIC).send([message(subject="1"), message(subject="2")])
            await broker.join()
            outcomes = {number: [] for number in "12"}  # type: dict[str, list[str]]
            for each in broker.outcomes:
                outcomes[each.subject].append(each.outcome)
            assert outcomes["1"] == outcomes["2"] == ["lease_lost", "handled"]
            assert container.health.state == "degraded"
            assert "blocked the event loop" in str(container.health.reason) or "before its handler" in str(
                container.health.reason
            )

    asyncio.run(scenario())
    assert len(ran) == 3


def test_an_error_after_acknowledging_has_an_outcome_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """The message is deleted, because the handler said so; log and health say that it failed."""

    @listener
    async def handler(event: Painted, acknowledgement: Acknowledgement) -> None:
        await acknowledgement.acknowledge()
        if event.source.id == "bad":
            raise ValueError("too late")

    result = run(handler, options=ListenerOptions(manual_ack=True))
    assert (result.outcomes, result.reasons) == (["failed_after_acknowledgement"], [])
    assert "handler failed after it acknowledged" in caplog.messages
    assert result.health.reason == "handler failed after it acknowledged: ValueError: too late"
    assert result.handled == ["good"]


def test_a_dead_letter_that_cannot_be_sent_is_a_failed_delivery() -> None:
    """It is reported, and the message is tried again."""

    @listener
    async def handler(event: Painted) -> None:
        raise TerminalError("never")

    async def scenario() -> list[str]:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            await asyncio.sleep(0.1)  # it listens, and has created its queues
            dead_letters = broker.queue(f"{QUEUE}-dlq")
            dead_letters.faults = Faults(fail_call=1)
            await broker.topic(TOPIC).send([message()])
            await asyncio.sleep(0.5)
            dead_letters.faults = Faults()
            await broker.join(raise_errors=False)
            return [each.outcome for each in broker.outcomes]

    outcomes = run_on_virtual_clock(scenario())
    assert outcomes[0] == "failed"
    assert outcomes[-1] == "dead_letter"


@pytest.mark.parametrize("manual_ack", [False, True])
def test_a_message_that_middleware_does_not_pass_on_is_deleted_as_filtered(manual_ack: bool) -> None:
    """Or with the outcome that the middleware gives it."""

    class Filter:
        provides = ()

        async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
            subject = delivery.message.subject
            if subject == "named":
                delivery.outcomes[delivery.message.id] = "out_of_scope"
            elif subject != "foreign":
                await proceed(delivery)

    @listener
    async def handler(event: Painted, acknowledgement: Acknowledgement) -> None:
        await acknowledgement.acknowledge()

    async def scenario() -> dict[str, str]:
        async with MemoryBroker() as broker:
            broker.listen(handler, middleware=[Filter()], options=ListenerOptions(manual_ack=manual_ack))
            for subject in ("own", "foreign", "named"):
                await broker.topic(TOPIC).send([message(subject=subject)])
            await broker.join()
            return {each.subject: each.outcome for each in broker.outcomes}

    assert run_on_virtual_clock(scenario()) == {
        "own": "handled",
        "foreign": "filtered",
        "named": "out_of_scope",
    }


def test_of_a_batch_only_messages_that_the_handler_received_need_its_acknowledgement() -> None:
    """With manual acknowledgement: the handler does not acknowledge, a duplicate is deleted."""

    class Absorb:
        provides = ()

        async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
            new = [each for each in delivery.messages if each.subject != "duplicate"]
            for each in delivery.messages:
                if each not in new:
                    delivery.outcomes[each.id] = "duplicate"
            await proceed(delivery.only(new))

    @listener
    async def handler(events: list[Painted], acknowledgement: Acknowledgement) -> None: ...

    async def scenario() -> set[tuple[str, str]]:
        async with MemoryBroker() as broker:
            options = ListenerOptions(manual_ack=True, max_concurrency=1)
            [container] = broker.listen(handler, middleware=[Absorb()], options=options)
            container.pause()
            await broker.topic(TOPIC).send([message(subject="new"), message(subject="duplicate")])
            container.resume()
            await asyncio.sleep(10)
            [left] = broker.queue(QUEUE).messages
            assert '"new"' in left.body
            return {(each.subject, each.outcome) for each in broker.outcomes}

    assert run_on_virtual_clock(scenario()) == {("new", "not_acknowledged"), ("duplicate", "duplicate")}


@pytest.mark.parametrize("manual_ack", [False, True])
def test_a_handler_that_acknowledged_early_runs_to_its_end(manual_ack: bool) -> None:
    """Beyond the visibility timeout and the limit of its lease: there is no lease to lose."""

    @listener
    async def handler(event: Painted, acknowledgement: Acknowledgement) -> None:
        await acknowledgement.acknowledge()
        await asyncio.sleep(13 * 3600)

    async def scenario() -> list[str]:
        async with MemoryBroker() as broker:
            options = ListenerOptions(manual_ack=manual_ack, max_lease_extension=60)
            broker.listen(handler, options=options)
            await broker.topic(TOPIC).send([message()])
            await asyncio.sleep(1)
            assert broker.queue(QUEUE).is_empty
            await asyncio.sleep(14 * 3600)
            return [each.outcome for each in broker.outcomes]

    assert run_on_virtual_clock(scenario()) == ["handled"]


def test_a_time_limit_also_ends_a_handler_that_acknowledged_early() -> None:
    @listener
    async def handler(event: Painted, acknowledgement: Acknowledgement) -> None:
        await acknowledgement.acknowledge()
        await asyncio.sleep(3600)

    async def scenario() -> list[str]:
        async with MemoryBroker() as broker:
            broker.listen(handler, options=ListenerOptions(handler_timeout=60))
            await broker.topic(TOPIC).send([message()])
            await asyncio.sleep(70)
            return [str(each.reason) for each in broker.outcomes]

    assert run_on_virtual_clock(scenario()) == ["HandlerTimedOut: timed out after 60 s"]


def test_an_error_of_a_batch_that_is_none_fails_the_batch() -> None:
    """Its message would be neither handled nor failed."""

    @listener
    async def handler(events: list[Painted], failures: BatchFailures) -> None:
        if events[0].source.id == "bad":
            failures.add(events[0], None)  # type: ignore[arg-type]

    assert_failed(run(handler), TypeError())


def test_a_batch_handler_may_report_an_error_that_is_no_exception() -> None:
    @listener
    async def handler(events: list[Painted], failures: BatchFailures) -> None:
        if events[0].source.id == "bad":
            failures.add(events[0], PanicException("index"))

    assert_failed(run(handler), PanicException())


def test_an_invalid_message_of_a_fair_queue_takes_no_neighbour_along() -> None:
    """Forty messages of one tenant on a standard queue that reorders, some invalid, and a batch handler: each
    invalid one is a dead letter by itself."""

    @listener
    async def handler(events: list[Painted]) -> None:
        if any(event.source.id.startswith("bad") for event in events):
            raise ValueError("a bad one")

    async def scenario(seed: int) -> tuple[int, set[str]]:
        faults = Faults(seed, reorder=0.5, delay=0.3)
        async with MemoryBroker(faults=faults) as broker:
            broker.listen(handler)
            for number in range(40):
                names = [f"good{number}"] + [f"bad{number}"] * (number % 4 == 0)
                await broker.topic(TOPIC).send(
                    [message(subject=name).copy(group_id="tenant") for name in names]
                )
                await asyncio.sleep(1)
            await broker.join(raise_errors=False)
            dead = {each.message.subject for each in broker.dead_letters()}
            return len(broker.handled(Painted)), dead

    for seed in range(5):
        handled, dead = run_on_virtual_clock(scenario(seed))
        assert (handled, dead) == (40, {f"bad{number}" for number in range(0, 40, 4)})


@pytest.mark.parametrize("hours", [7, 12])
def test_a_long_visibility_timeout_covers_a_job_almost_to_the_limit_of_sqs(hours: int) -> None:
    """SQS rejects an extension beyond 12 h from the receive; a minute less is possible."""

    @listener
    async def handler(event: Painted) -> None:
        await asyncio.sleep(12 * 3600 - 60)

    async def scenario() -> list[tuple[str, int]]:
        async with MemoryBroker(settings=QueueSettings(visibility=hours * 3600)) as broker:
            broker.listen(handler)
            await broker.topic(TOPIC).send([message()])
            await broker.join()
            return [(each.outcome, each.receive_count) for each in broker.outcomes]

    assert run_on_virtual_clock(scenario()) == [("handled", 1)]


@pytest.mark.parametrize("awaits", [False, True])
def test_a_blocked_event_loop_is_logged_and_degrades_the_health(
    awaits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The blocking handler may await something afterwards, and is cancelled there, or not."""
    blocked = False

    @listener
    async def handler(event: Painted) -> None:
        nonlocal blocked
        if not blocked:
            blocked = True
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualClockLoop)
            loop.advance(40)  # what time.sleep(40) would do to a real one
            if awaits:
                await asyncio.sleep(0.1)

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler)
            await broker.topic(TOPIC).send([message()])
            await broker.join()
            await asyncio.sleep(10)
            assert [each.outcome for each in broker.outcomes] == ["lease_lost", "handled"]
            assert "the event loop was blocked" in str(container.health.reason)

    run_on_virtual_clock(scenario())
    assert "event loop blocked" in caplog.messages


def test_a_handler_that_ignores_its_cancellation_does_not_keep_a_listener_from_ending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`run` returns within twenty seconds; the message is visible at once, and not acknowledged later."""
    ended = asyncio.Event()

    @listener
    async def handler(event: Painted) -> None:
        await deaf(ended)

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler)
            await broker.topic(TOPIC).send([message()])
            await asyncio.sleep(1)
            container.stop()
            async with asyncio.timeout(20):
                while container.health.state != "stopped":
                    await asyncio.sleep(0.1)
            assert broker.queue(QUEUE).has_visible
            ended.set()
            await asyncio.sleep(10)
            assert [each.outcome for each in broker.outcomes] == ["cancelled"]
            assert broker.queue(QUEUE).has_visible

    run_on_virtual_clock(scenario())
    assert "handlers ignore their cancellation" in caplog.messages

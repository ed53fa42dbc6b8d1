"""Contract of the listener: the outcome of each message. One suite for every engine, see engines.py."""

import asyncio
import time
from typing import Any

import pytest
from snsqs import (
    Acknowledgement,
    Delivery,
    Lease,
    ListenerContainer,
    ListenerMisconfigured,
    Message,
    TerminalError,
    Unavailable,
    bindings,
)
from snsqs.headers import ID, TYPE
from snsqs.postgres import Transaction
from snsqs.queues import RawAttributes, Received, original_attributes

from tests.serving import eventually
from tests.snsqs.engines import Bench, Engine, listening
from tests.snsqs.queues import QUEUE, Painted, Recorder, Sold, fifo, listener, message


async def counted(bench: Bench, counts: tuple[int, int]) -> bool:
    """The queue has as many visible and received messages. SQS's counts are approximate and may be late."""
    return await bench.counts() == counts


async def test_events_of_one_queue_reach_the_handler_of_their_type(engine: Engine) -> None:
    """The annotation decides, for each message."""
    recorder = Recorder()
    async with listening(engine, *recorder.handlers) as bench:
        await bench.publish(*(message("Painted" if n % 2 else "Sold", str(n)) for n in range(25)))
        await eventually(bench.is_empty)
    assert sorted(map(int, recorder.painted)) == list(range(1, 25, 2))
    assert sorted(map(int, recorder.sold)) == list(range(0, 25, 2))


async def test_parameters_are_filled_by_type(engine: Engine) -> None:
    """Event, message and delivery, in any order."""
    seen: list[Any] = []

    @listener
    async def handler(delivery: Delivery, event: Painted | Sold, sent: Message[str]) -> None:
        seen.append((type(event), sent.subject, delivery.receive_count, delivery.queue))

    async with listening(engine, handler) as bench:
        await bench.publish(message("Sold", "7"))
        await eventually(bench.is_empty)
    assert seen == [(Sold, "7", 1, QUEUE)]


async def test_the_filter_policy_excludes_types_without_a_handler(engine: Engine) -> None:
    """It is derived from the handlers, so such a message never costs a receive."""
    recorder = Recorder()
    async with listening(engine, *recorder.handlers) as bench:
        await bench.publish(message("Melted"), message("Painted", "2"))
        await eventually(bench.is_empty)
        assert await bench.dead_letters() == []
    assert recorder.painted == ["2"]


def dated(time: str) -> str:
    return f'{{"source": {{"id": "1", "version": 1}}{time}}}'


GOOD = dated(', "occurenceOn": 1')


@pytest.mark.parametrize(
    ("body", "attributes", "reason"),
    [
        ("{", {TYPE: "Painted"}, "UndecodableMessage: the payload is not a Painted"),
        ("not JSON", {}, "UndecodableMessage: the body is not JSON"),
        ("[1]", {}, "UndecodableMessage: the body is a JSON list"),
        (GOOD, {}, "UndecodableMessage: the message has no ce-type"),
        (GOOD, {TYPE: "os.system"}, "UnknownType: no handler on test-queue takes 'os.system'"),
        ('{"source": {"id": 5}, "occurenceOn": 1}', {TYPE: "Painted"}, "source.version: Field required"),
        ("[" * 50_000, {}, "UndecodableMessage"),
        (dated(""), {TYPE: "Painted"}, "occurence_on: Field required, spelled occurenceOn"),
        (
            dated(', "occurrenceOn": 1'),
            {TYPE: "Painted"},
            "occurence_on: Field required, spelled occurenceOn",
        ),
        (
            dated(', "occurence_on": 1'),
            {TYPE: "Painted"},
            "occurence_on: Field required, spelled occurenceOn",
        ),
        (dated(', "occurenceOn": null'), {TYPE: "Painted"}, "occurenceOn: Input should be a valid integer"),
        (dated(', "occurenceOn": "1"'), {TYPE: "Painted"}, "occurenceOn: Input should be a valid integer"),
        (dated(', "occurenceOn": true'), {TYPE: "Painted"}, "occurenceOn: Input should be a valid integer"),
    ],
)
async def test_an_undecodable_message_is_a_dead_letter_at_once(
    engine: Engine, body: str, attributes: dict[str, str], reason: str
) -> None:
    """It goes to the dead-letter queue unchanged, with the reason; other messages are handled."""
    recorder = Recorder()
    async with listening(engine, *recorder.handlers) as bench:
        await bench.send(body, **attributes)
        await bench.publish(message("Painted", "9"))
        [letter] = await eventually(bench.dead_letters)
        await eventually(bench.is_empty)
    assert letter.body == body
    assert reason in letter.reason
    assert letter.details["receiveCount"] == 1
    assert attributes.items() <= letter.attributes.items()
    assert recorder.painted == ["9"]


TYPED: dict[str, Any] = {
    "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    "n": {"DataType": "Number", "StringValue": "1.50"},
    "o": {"DataType": "Binary.png", "BinaryValue": b"\x89"},
    "p": {"DataType": "Number.int", "StringValue": "7"},
}


async def test_ten_attributes_of_every_type_survive_a_dead_letter(engine: Engine) -> None:
    """Those without room are in its details, also when SQS redrives the dead letter and it fails again."""
    texts = {f"ce-{number}": {"DataType": "String", "StringValue": "é"} for number in range(6)}
    sent = TYPED | texts
    async with listening(engine, *Recorder().handlers) as bench:
        await bench.send("not JSON", **sent)
        [first] = await eventually(bench.dead_letters)
        await bench.send(first.body, **_without_system_fields(first.raw_attributes))
        [second] = await eventually(bench.dead_letters)
    for letter in (first, second):
        assert len(letter.raw_attributes) == 10
        received = Received("1", "", letter.body, letter.raw_attributes, 1, 0.0)
        assert _without_system_fields(original_attributes(received)) == sent


def _without_system_fields(attributes: RawAttributes) -> dict[str, Any]:
    names = ("DataType", "StringValue", "BinaryValue")
    return {key: {n: value[n] for n in names if n in value} for key, value in attributes.items()}  # type: ignore[literal-required]


async def test_a_terminal_error_of_a_handler_is_a_dead_letter_at_once(engine: Engine) -> None:
    """Reason, handler and original ids go with it."""

    @listener
    async def handler(event: Painted) -> None:
        raise TerminalError(f"{event.source.id} has been thrown away")

    sent = message()
    async with listening(engine, handler) as bench:
        await bench.publish(sent)
        [letter] = await eventually(bench.dead_letters)
    assert letter.reason == "TerminalError: 1 has been thrown away"
    assert "handler" in letter.details["notes"][0]
    assert letter.attributes[ID] == sent.id


async def test_a_failed_message_is_retried_until_it_succeeds(engine: Engine) -> None:
    """It is delivered again with a higher receive count."""
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        if delivery.receive_count < 3:
            raise RuntimeError("not yet")

    async with listening(engine, handler) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty, within=30)
    assert counts == [1, 2, 3]


async def test_the_last_permitted_receive_ends_in_a_dead_letter_with_its_reason(engine: Engine) -> None:
    """The error of the handler, which the redrive of SQS would lose."""

    @listener
    async def handler(event: Painted) -> None:
        raise RuntimeError("never")

    async with listening(engine, handler, max_receive_count=2) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters, within=30)
    assert letter.reason == "RuntimeError: never"
    assert letter.details["receiveCount"] == 2


async def test_a_message_waits_for_a_dependency_without_being_received_again(engine: Engine) -> None:
    """Unavailable costs no receive, however often it is raised."""
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        if len(counts) < 3:
            raise Unavailable("the other service is away")

    async with listening(engine, handler, max_receive_count=1) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty)
        assert await bench.dead_letters() == []
    assert counts == [1, 1, 1]


async def test_a_lease_is_extended_for_as_long_as_the_handler_runs(engine: Engine) -> None:
    """A handler may take longer than the visibility timeout; no other consumer receives its message."""
    calls = 0

    @listener
    async def handler(event: Painted) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(4.5)

    async with listening(engine, handler, visibility=2) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty)
    assert calls == 1


async def test_the_lease_of_a_pending_message_is_extended(engine: Engine) -> None:
    """Of those of a failed batch, which wait for each other: not only while their handler runs."""
    received: list[tuple[str, int]] = []

    @listener
    async def handler(events: list[Painted], delivery: Delivery) -> None:
        if len(events) > 1:
            raise RuntimeError("one by one, please")
        await asyncio.sleep(1.2)
        received.append((events[0].source.id, delivery.receive_count))

    async with listening(engine, handler, visibility=2, max_concurrency=1) as bench:
        bench.listener.pause()
        await bench.publish(message(subject="1"), message(subject="2"), message(subject="3"))
        bench.listener.resume()
        await eventually(bench.is_empty)
    assert sorted(received) == [("1", 1), ("2", 1), ("3", 1)]


async def test_a_handler_is_cancelled_when_its_lease_is_lost(engine: Engine) -> None:
    """Another consumer deleted the message, so its handler must not commit."""
    began, ended = asyncio.Event(), asyncio.Event()
    outcomes: list[str] = []

    @listener
    async def handler(event: Painted) -> None:
        began.set()
        try:
            await asyncio.sleep(20)
            outcomes.append("committed")
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            raise
        finally:
            ended.set()

    async with listening(engine, handler, visibility=2) as bench:
        await bench.publish(message())
        await began.wait()
        await bench.purge()
        async with asyncio.timeout(10):
            await ended.wait()
    assert outcomes == ["cancelled"]


async def test_stopping_lets_running_handlers_finish_and_requeues_the_rest(engine: Engine) -> None:
    """One is running and two are pending: after the drain one is handled and two are visible at once."""
    finished: list[str] = []
    began = asyncio.Event()

    @listener
    async def handler(event: Painted) -> None:
        began.set()
        await asyncio.sleep(0.5)
        finished.append(event.source.id)

    async with listening(engine, handler, max_concurrency=1) as bench:
        await bench.publish(message(subject="1"), message(subject="2"), message(subject="3"))
        await began.wait()
    assert len(finished) == 1
    await eventually(lambda: counted(bench, (2, 0)))


async def test_stopping_has_a_timeout(engine: Engine) -> None:
    """A handler that does not end is cancelled, and its message is visible at once."""
    began = asyncio.Event()

    @listener
    async def handler(event: Painted) -> None:
        began.set()
        await asyncio.sleep(60)

    # The drain outlasts a receive call: servers deliver messages to one that was cancelled.
    async with listening(engine, handler, shutdown_timeout=1.0, poll_timeout=1) as bench:
        await bench.publish(message())
        await began.wait()
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 10
    await eventually(lambda: counted(bench, (1, 0)))


def test_a_missing_dependency_is_found_at_start() -> None:
    """ListenerMisconfigured names the handler and the dependency."""

    @listener
    async def handler(event: Painted, tx: Transaction) -> None: ...

    [binding] = bindings([handler])
    with pytest.raises(
        ListenerMisconfigured, match=r"handler takes tx of type Transaction, which no middleware"
    ):
        ListenerContainer(None, binding)  # type: ignore[arg-type]


def test_two_handlers_of_one_type_on_one_queue_are_found_at_start() -> None:
    """ListenerMisconfigured names both."""

    @listener
    async def first(event: Painted) -> None: ...

    @listener
    async def second(event: Painted | Sold) -> None: ...

    with pytest.raises(ListenerMisconfigured, match=r"first and .*second both take Painted"):
        bindings([first, second])


async def test_a_handler_that_is_cancelled_from_elsewhere_has_failed(engine: Engine) -> None:
    """It awaited a task that was cancelled. The message is retried, and the workers go on."""
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        if delivery.receive_count == 1:
            raise asyncio.CancelledError

    async with listening(engine, handler, max_concurrency=1) as bench:
        await bench.publish(message(), message())
        await eventually(bench.is_empty, within=30)
    assert sorted(counts) == [1, 1, 2, 2]


async def test_a_batch_handler_receives_pending_messages_together(engine: Engine) -> None:
    """`list[Painted]`: one call for many messages, each acknowledged."""
    batches: list[list[str]] = []

    @listener
    async def handler(events: list[Painted]) -> None:
        batches.append([event.source.id for event in events])

    async with listening(engine, handler, max_concurrency=1) as bench:
        await bench.publish(*(message(subject=str(number)) for number in range(30)))
        await eventually(bench.is_empty)
    assert sorted(int(each) for batch in batches for each in batch) == list(range(30))
    assert len(batches) < 15
    assert max(map(len, batches)) <= 10


async def test_one_bad_message_of_a_batch_fails_alone(engine: Engine) -> None:
    """The batch is handled again one by one, and the other messages succeed."""
    painted: set[str] = set()

    @listener
    async def handler(events: list[Painted]) -> None:
        if any(event.source.id == "7" for event in events):
            raise TerminalError("seven is bad")
        painted.update(event.source.id for event in events)

    async with listening(engine, handler) as bench:
        await bench.publish(*(message(subject=str(number)) for number in range(10)))
        [letter] = await eventually(bench.dead_letters)
        await eventually(bench.is_empty)
    assert letter.reason == "TerminalError: seven is bad"
    assert painted == {str(number) for number in range(10)} - {"7"}


async def test_with_manual_acknowledgement_the_handler_decides(engine: Engine) -> None:
    """Without acknowledgement a message is delivered again after its visibility timeout."""
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery, acknowledgement: Acknowledgement) -> None:
        counts.append(delivery.receive_count)
        if delivery.receive_count == 2:
            await acknowledgement.acknowledge()

    async with listening(engine, handler, manual_ack=True, visibility=2) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty)
    assert counts == [1, 2]


async def test_a_handler_receives_its_lease(engine: Engine) -> None:
    """The lease has the deadline of the message."""
    seconds: list[float] = []

    @listener
    async def handler(event: Painted, lease: Lease) -> None:
        seconds.append(lease.deadline - asyncio.get_running_loop().time())
        assert not lease.is_lost

    async with listening(engine, handler, visibility=30) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty)
    assert 20 < seconds[0] <= 30


async def test_a_paused_listener_receives_nothing_until_it_is_resumed(engine: Engine) -> None:
    """At run time, repeatedly."""
    recorder = Recorder()
    async with listening(engine, *recorder.handlers, poll_timeout=1) as bench:
        for subject in ("1", "2"):
            bench.listener.pause()
            # ministack delivers messages to a call that was cancelled, so let it end.
            await asyncio.sleep(1.5)
            await bench.publish(message(subject=subject))
            await eventually(lambda: counted(bench, (1, 0)))
            await asyncio.sleep(0.3)
            assert bench.listener.is_paused
            assert await bench.counts() == (1, 0)
            bench.listener.resume()
            await eventually(bench.is_empty)
    assert recorder.painted == ["1", "2"]


@pytest.mark.parametrize("policy", ["ignore", "fail"])
async def test_unknown_types_follow_the_option(engine: Engine, policy: str) -> None:
    """`ignore` deletes them; `fail` retries them, for a queue whose consumers have several versions."""
    recorder = Recorder()
    async with listening(engine, *recorder.handlers, unknown_types=policy, max_receive_count=2) as bench:
        await bench.send(GOOD, **{TYPE: "Melted"})
        if policy == "fail":
            [letter] = await eventually(bench.dead_letters)
            assert letter.details["receiveCount"] == 2
        await eventually(bench.is_empty)
        assert await bench.dead_letters() == []


async def test_stopping_leaves_no_message_leased(engine: Engine) -> None:
    """G7: the messages of a receive call that is under way are requeued or handled."""
    recorder = Recorder()
    async with listening(engine, *recorder.handlers, max_concurrency=2) as bench:
        await bench.publish(*(message(subject=str(number)) for number in range(150)))

        async def began() -> bool:
            return len(recorder.painted) > 20

        await eventually(began)
    await eventually(lambda: counted(bench, (150 - len(recorder.painted), 0)), within=5)


async def test_a_fifo_group_is_handled_in_order_and_groups_in_parallel(engine: Engine) -> None:
    """The subject of a message is its group. Handlers of one group never overlap, those of two groups do."""
    handled: dict[str, list[int]] = {"a": [], "b": []}
    running: set[str] = set()
    together: list[int] = []

    @fifo
    async def handler(event: Painted) -> None:
        group = event.source.id
        assert group not in running
        running.add(group)
        together.append(len(running))
        await asyncio.sleep(0.05)
        running.discard(group)
        handled[group].append(event.source.version)

    async with listening(engine, handler) as bench:
        await bench.publish(*(message(subject=group, version=v) for v in range(6) for group in ("a", "b")))
        await eventually(bench.is_empty)
    assert handled == {"a": list(range(6)), "b": list(range(6))}
    assert max(together) == 2


async def test_a_failure_holds_back_the_rest_of_its_fifo_group_only(engine: Engine) -> None:
    """The failed message is the first to be delivered again; the other group does not wait for it."""
    handled: list[tuple[str, int]] = []

    @fifo
    async def handler(event: Painted, delivery: Delivery) -> None:
        if (event.source.id, event.source.version, delivery.receive_count) == ("a", 1, 1):
            raise RuntimeError("not yet")
        handled.append((event.source.id, event.source.version))

    async with listening(engine, handler) as bench:
        await bench.publish(*(message(subject=group, version=v) for v in range(4) for group in ("a", "b")))
        await eventually(bench.is_empty, within=30)
    assert [version for group, version in handled if group == "a"] == [0, 1, 2, 3]
    assert [version for group, version in handled if group == "b"] == [0, 1, 2, 3]
    assert handled.index(("b", 3)) < handled.index(("a", 1))


async def test_a_failed_batch_of_a_fifo_group_stays_in_order(engine: Engine) -> None:
    """Its messages are handled one by one, and do not overtake the one that fails again."""
    handled: list[int] = []

    @fifo
    async def handler(events: list[Painted], delivery: Delivery) -> None:
        versions = [event.source.version for event in events]
        if 2 in versions and delivery.receive_count == 1:
            raise RuntimeError("not yet")
        handled.extend(versions)

    async with listening(engine, handler, max_concurrency=2) as bench:
        await bench.publish(*(message(subject="a", version=version) for version in range(5)))
        await eventually(bench.is_empty, within=30)
    assert handled == list(range(5))


async def test_after_a_dead_letter_its_fifo_group_goes_on(engine: Engine) -> None:
    """It goes to a FIFO dead-letter queue, and the next messages of its group are handled."""
    handled: list[int] = []

    @fifo
    async def handler(event: Painted) -> None:
        if event.source.version == 1:
            raise TerminalError("one is bad")
        handled.append(event.source.version)

    async with listening(engine, handler) as bench:
        await bench.publish(*(message(subject="a", version=version) for version in range(3)))
        [letter] = await eventually(bench.dead_letters)
        await eventually(bench.is_empty)
    assert letter.reason == "TerminalError: one is bad"
    assert handled == [0, 2]

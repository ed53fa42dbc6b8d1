"""The listener, on a real SNS/SQS server: what becomes of each message."""

import asyncio
import time
from typing import Any

import pytest

from shared.messaging import (
    AwsClients,
    Delivery,
    ListenerContainer,
    ListenerMisconfigured,
    Message,
    TerminalError,
    Topology,
    Unavailable,
    bindings,
    sqs_listener,
)
from shared.messaging.message import ID, TYPE
from shared.postgres import Transaction
from tests.queues import QUEUE, TOPIC, Painted, Sold, listening, message
from tests.serving import eventually

listener = sqs_listener(QUEUE, topic=TOPIC)


class Recorder:
    """Handlers of two event types on one queue, which remember what they were given."""

    def __init__(self) -> None:
        self.painted: list[str] = []
        self.sold: list[str] = []

        @listener
        async def on_painted(event: Painted) -> None:
            self.painted.append(event.source.id)

        @listener
        async def on_sold(event: Sold) -> None:
            self.sold.append(event.source.id)

        self.handlers = (on_painted, on_sold)


async def test_many_event_types_on_one_queue_reach_the_handler_that_names_them(aws: AwsClients) -> None:
    """What the old @SqsListener could not: the annotation decides, message by message."""
    recorder = Recorder()
    async with listening(aws, *recorder.handlers) as bench:
        await bench.publish(*(message("Painted" if n % 2 else "Sold", str(n)) for n in range(25)))
        await eventually(bench.is_empty)
    assert sorted(map(int, recorder.painted)) == list(range(1, 25, 2))
    assert sorted(map(int, recorder.sold)) == list(range(0, 25, 2))


async def test_a_handler_is_given_what_it_asks_for(aws: AwsClients) -> None:
    """The event, the message and the delivery, in any order, each by its type."""
    seen: list[Any] = []

    @listener
    async def handler(delivery: Delivery, event: Painted | Sold, sent: Message[str]) -> None:
        seen.append((type(event), sent.subject, delivery.receive_count, delivery.queue))

    async with listening(aws, handler) as bench:
        await bench.publish(message("Sold", "7"))
        await eventually(bench.is_empty)
    assert seen == [(Sold, "7", 1, QUEUE)]


async def test_the_filter_policy_keeps_away_what_no_handler_takes(aws: AwsClients) -> None:
    """It is derived from the handlers, so a type that nobody takes never costs a receive."""
    recorder = Recorder()
    async with listening(aws, *recorder.handlers) as bench:
        await bench.publish(message("Melted"), message("Painted", "2"))
        await eventually(bench.is_empty)
        assert await bench.dead_letters() == []
    assert recorder.painted == ["2"]


GOOD = '{"source": {"id": "1", "version": 1}, "occurenceOn": 1}'


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
    ],
)
async def test_what_can_never_succeed_is_a_dead_letter_at_once(
    aws: AwsClients, body: str, attributes: dict[str, str], reason: str
) -> None:
    """It goes to the dead-letter queue unchanged, with the reason; the others flow on."""
    recorder = Recorder()
    async with listening(aws, *recorder.handlers) as bench:
        await bench.send(body, **attributes)
        await bench.publish(message("Painted", "9"))
        [letter] = await eventually(bench.dead_letters)
        await eventually(bench.is_empty)
    assert letter.body == body
    assert reason in letter.reason
    assert letter.details["receiveCount"] == 1
    assert attributes.items() <= letter.attributes.items()
    assert recorder.painted == ["9"]


async def test_a_terminal_error_of_a_handler_is_a_dead_letter_at_once(aws: AwsClients) -> None:
    """Its type says that trying again cannot help; reason, handler and original ids go with it."""

    @listener
    async def handler(event: Painted) -> None:
        raise TerminalError(f"{event.source.id} has been thrown away")

    sent = message()
    async with listening(aws, handler) as bench:
        await bench.publish(sent)
        [letter] = await eventually(bench.dead_letters)
    assert letter.reason == "TerminalError: 1 has been thrown away"
    assert "handler" in letter.details["notes"][0]
    assert letter.attributes[ID] == sent.id


async def test_a_failed_message_comes_again_until_it_succeeds(aws: AwsClients) -> None:
    """The visibility grows with the receive count, and the other messages do not wait for it."""
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        if delivery.receive_count < 3:
            raise RuntimeError("not yet")

    async with listening(aws, handler) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty, within=30)
    assert counts == [1, 2, 3]


async def test_the_last_permitted_receive_ends_in_a_dead_letter_with_its_reason(aws: AwsClients) -> None:
    """Not SQS's silent redrive: the error that the handler raised goes along."""

    @listener
    async def handler(event: Painted) -> None:
        raise RuntimeError("never")

    async with listening(aws, handler, max_receive_count=2) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters, within=30)
    assert letter.reason == "RuntimeError: never"
    assert letter.details["receiveCount"] == 2


async def test_a_message_waits_for_what_is_away_without_being_received_again(aws: AwsClients) -> None:
    """Unavailable costs no receive, however often it is raised."""
    counts: list[int] = []

    @listener
    async def handler(event: Painted, delivery: Delivery) -> None:
        counts.append(delivery.receive_count)
        if len(counts) < 3:
            raise Unavailable("the other service is away")

    async with listening(aws, handler, max_receive_count=1) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty)
        assert await bench.dead_letters() == []
    assert counts == [1, 1, 1]


async def test_a_lease_is_extended_for_as_long_as_the_handler_runs(aws: AwsClients) -> None:
    """A handler may take longer than the visibility timeout: nobody else is given its message."""
    calls = 0

    @listener
    async def handler(event: Painted) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(3.5)

    async with listening(aws, handler, visibility=1) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty)
    assert calls == 1


async def test_a_buffered_message_is_kept_while_it_waits_for_its_turn(aws: AwsClients) -> None:
    """Extended from the moment it is received, not from when its handler begins."""
    subjects: list[str] = []

    @listener
    async def handler(event: Painted) -> None:
        await asyncio.sleep(1.2)
        subjects.append(event.source.id)

    async with listening(aws, handler, visibility=1, in_flight=1) as bench:
        await bench.publish(message(subject="1"), message(subject="2"), message(subject="3"))
        await eventually(bench.is_empty)
    assert sorted(subjects) == ["1", "2", "3"]


async def test_a_handler_is_cancelled_when_its_lease_is_lost(aws: AwsClients) -> None:
    """Somebody else deleted the message: what is going on here must not commit."""
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

    async with listening(aws, handler, visibility=2) as bench:
        await bench.publish(message())
        await began.wait()
        # Purging is what takes a leased message away from its consumer for good.
        await aws.sqs.purge_queue(QueueUrl=bench.queue_url)
        async with asyncio.timeout(10):
            await ended.wait()
    assert outcomes == ["cancelled"]


async def test_stopping_lets_running_handlers_finish_and_gives_back_the_rest(aws: AwsClients) -> None:
    """One runs, two wait behind it: after the drain one is done and two are receivable at once."""
    finished: list[str] = []
    began = asyncio.Event()

    @listener
    async def handler(event: Painted) -> None:
        began.set()
        await asyncio.sleep(0.5)
        finished.append(event.source.id)

    async with listening(aws, handler, in_flight=1) as bench:
        await bench.publish(message(subject="1"), message(subject="2"), message(subject="3"))
        await began.wait()
    assert len(finished) == 1
    assert await bench.counts() == (2, 0)


async def test_stopping_does_not_wait_for_ever(aws: AwsClients) -> None:
    """A handler that does not end is cancelled, and its message is receivable at once."""
    began = asyncio.Event()

    @listener
    async def handler(event: Painted) -> None:
        began.set()
        await asyncio.sleep(60)

    async with listening(aws, handler, drain=0.3) as bench:
        await bench.publish(message())
        await began.wait()
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 10
    assert await bench.counts() == (1, 0)


async def test_a_deleted_queue_is_made_again_in_development(aws: AwsClients) -> None:
    """The listener goes on with the new one, without a hand."""
    recorder = Recorder()
    async with listening(aws, *recorder.handlers, wait=1) as bench:
        await aws.sqs.delete_queue(QueueUrl=bench.queue_url)

        async def published() -> bool:
            await bench.publish(message())
            return bool(recorder.painted)

        await eventually(published, within=30)
    assert bench.listener.trouble is None


async def test_the_listener_waits_for_sqs_and_says_so(aws: AwsClients) -> None:
    """A service starts without SQS; the trouble can be read, and stopping still works."""
    from shared.messaging import aws_clients

    recorder = Recorder()
    async with aws_clients(region="us-east-1", endpoint_url="http://127.0.0.1:1") as nowhere:
        [binding] = bindings(recorder.handlers)
        container = ListenerContainer(Topology(nowhere, create=True), binding)
        await container.prepare()
        running = asyncio.create_task(container.run())
        assert container.trouble is not None
        container.stop()
        async with asyncio.timeout(5):
            await running


def test_a_handler_that_asks_for_what_nobody_provides_is_found_at_start() -> None:
    """ListenerMisconfigured names the handler and what it asks for."""

    @listener
    async def handler(event: Painted, tx: Transaction) -> None: ...

    [binding] = bindings([handler])
    with pytest.raises(ListenerMisconfigured, match=r"handler asks for Transaction"):
        ListenerContainer(None, binding)  # type: ignore[arg-type]


def test_two_handlers_of_one_type_on_one_queue_are_found_at_start() -> None:
    """ListenerMisconfigured names both."""

    @listener
    async def first(event: Painted) -> None: ...

    @listener
    async def second(event: Painted | Sold) -> None: ...

    with pytest.raises(ListenerMisconfigured, match=r"first and .*second both take Painted"):
        bindings([first, second])


def test_a_parameter_without_annotation_is_found_at_start() -> None:
    """Parameters go by type, so each needs one."""

    @listener
    async def handler(event: Painted, extra) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(ListenerMisconfigured, match="annotate extra"):
        bindings([handler])

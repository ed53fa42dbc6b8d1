"""Testing API of the in-memory broker: publish, run until idle, assert on messages."""

from dataclasses import dataclass

import pytest
from snsqs import (
    Aggregate,
    BatchSendFailed,
    Delivery,
    Message,
    MessageHandler,
    MessageTooLarge,
    TerminalError,
    TopologyError,
    event,
    message_of,
    sqs_listener,
)
from snsqs.headers import ID
from snsqs.testing import Faults, MemoryBroker, run_on_virtual_clock

from tests.snsqs.queues import QUEUE, TOPIC, Painted, Sold, listener, message


def painted(subject: str, version: int = 1) -> Painted:
    return Painted(source=Aggregate(id=subject, version=version))


@listener
async def on_painted(event: Painted) -> None:
    if event.source.id == "invalid":
        raise TerminalError("no colour")


def test_events_are_published_handled_and_dead() -> None:
    """`publish` finds the topic by its subscribers; events are decoded, and dead letters have reasons."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_painted)
            valid, invalid = painted("1"), painted("invalid")
            await broker.publish(valid, invalid)
            await broker.join(raise_errors=False)
            assert broker.published(Painted) == [valid, invalid]
            assert broker.published(Painted, topic="another-topic") == []
            assert broker.published(Sold) == []
            assert broker.handled(Painted) == broker.handled(Painted, queue=QUEUE) == [valid]
            assert broker.handled(Painted, queue="another-queue") == []
            [letter] = broker.dead_letters(Painted)
            assert (letter.queue, letter.reason) == (QUEUE, "TerminalError: no colour")
            assert isinstance(letter.error, TerminalError)
            assert letter.message == broker.topic(TOPIC).messages[1]
            assert broker.dead_letters(Sold) == broker.dead_letters(queue="another-queue") == []
            assert [each.outcome for each in broker.outcomes] == ["handled", "dead_letter"]

    run_on_virtual_clock(scenario())


def test_join_raises_the_errors_of_dead_letters_by_default() -> None:
    """So that a test cannot pass by accident."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_painted)
            await broker.publish(painted("invalid"))
            with pytest.raises(ExceptionGroup) as raised:
                await broker.join()
            assert [str(error) for error in raised.value.exceptions] == ["no colour"]

    run_on_virtual_clock(scenario())


def test_a_message_that_was_not_accepted_is_an_error() -> None:
    """Of the topic's limits, or of a fault."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_painted)
            with pytest.raises(BatchSendFailed) as raised:
                await broker.publish(Message("x" * 2_000_000, message().headers))
            assert isinstance(raised.value.results[0], MessageTooLarge)
            assert broker.published(Painted) == []

    run_on_virtual_clock(scenario())


def test_a_topic_that_cannot_be_chosen_is_an_error() -> None:
    """Without a subscriber the message would be lost; with several topics the choice would be a guess."""

    @sqs_listener("other-queue", topic="other-topic")
    async def elsewhere(event: Painted) -> None: ...

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            with pytest.raises(TopologyError, match=r"no topic for Painted: no listener takes it"):
                await broker.publish(painted("1"))
            broker.listen(on_painted, elsewhere)
            with pytest.raises(
                TopologyError, match=r"several topics have subscribers: test-topic, other-topic"
            ):
                await broker.publish(painted("1"))
            await broker.publish(painted("1"), topic="other-topic")
            await broker.join()
            assert len(broker.handled(Painted, queue="other-queue")) == 1
            assert broker.handled(Painted, queue=QUEUE) == []

    run_on_virtual_clock(scenario())


def test_the_attributes_of_a_dead_letter_are_removed() -> None:
    """Also those that had to move into the details: the message is the one that was sent."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(on_painted)
            sent = message_of(painted("invalid")).copy(headers={f"tenant-{n}": "acme" for n in range(4)})
            await broker.publish(sent)
            await broker.join(raise_errors=False)
            [letter] = broker.dead_letters()
            assert letter.message == sent

    run_on_virtual_clock(scenario())


def test_declared_events_and_aliases_are_found() -> None:
    """Any class declared with `@event`, under its name and its aliases."""

    @event("test.Painted.v2", aliases=["Painted"])
    @dataclass
    class PaintedAgain:
        source: Aggregate

    @listener
    async def handler(event: PaintedAgain) -> None: ...

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(handler)
            await broker.publish(PaintedAgain(Aggregate(id="1", version=1)), painted("2"))
            await broker.join()
            for events in (broker.handled(PaintedAgain), broker.published(PaintedAgain)):
                assert [each.source.id for each in events] == ["1", "2"]
            assert [each.source.id for each in broker.published(Painted)] == ["2"]

    run_on_virtual_clock(scenario())


def test_a_message_that_was_received_too_often_is_a_dead_letter() -> None:
    """Moved by the queue; no handler received it, so its error names the reason."""

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(on_painted)
            container.pause()
            await broker.publish(painted("1"))
            for _ in range(5):
                await broker.queue(QUEUE).receive(limit=10, wait=0, visibility=0)
            container.resume()
            await broker.join(raise_errors=False)
            [letter] = broker.dead_letters(Painted)
            assert letter.reason == str(letter.error) == "received too often"

    run_on_virtual_clock(scenario())


def test_repeated_deliveries_are_handled_repeatedly() -> None:
    """At least once, as on SQS; a middleware that absorbs the second one reports another outcome."""

    class Once:
        provides = ()

        def __init__(self) -> None:
            self.seen: set[str] = set()

        async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
            message_id = delivery.message.headers[ID]
            if message_id in self.seen:
                delivery.outcomes[message_id] = "duplicate"
                return
            self.seen.add(message_id)
            await proceed(delivery)

    async def outcomes(*middleware: Once) -> tuple[list[Painted], list[str]]:
        async with MemoryBroker(faults=Faults(duplicate=1), middleware=middleware) as broker:
            broker.listen(on_painted)
            await broker.publish(painted("1"))
            await broker.join()
            return broker.handled(Painted), [each.outcome for each in broker.outcomes]

    handled, recorded = run_on_virtual_clock(outcomes())
    assert [event.source.id for event in handled] == ["1", "1"]
    handled, recorded = run_on_virtual_clock(outcomes(Once()))
    assert [event.source.id for event in handled] == ["1"]
    assert recorded == ["handled", "duplicate"]

"""The contract of every MessageChannel: a topic of SNS, a queue of SQS, and a topic in memory."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from snsqs import (
    AwsClients,
    BatchSendFailed,
    InterceptedChannel,
    Message,
    MessageChannel,
    MessageTooLarge,
    MessagingError,
    Send,
    SnsChannel,
    SqsChannel,
    TerminalError,
    Topology,
    aws_clients,
)
from snsqs.testing import MemoryBroker

from tests.snsqs.queues import message


@pytest.fixture(params=["memory", "memory-queue", "sns", "sns.fifo", "sqs", "sqs.fifo"])
async def channel(request: pytest.FixtureRequest, aws: AwsClients) -> MessageChannel:
    """Each implementation."""
    kind: str = request.param
    if kind == "memory":
        return MemoryBroker().topic("topic")
    if kind == "memory-queue":
        return MemoryBroker().queue_channel("queue")
    if kind.startswith("sns"):
        return SnsChannel(aws.sns, Topology(aws, create=True), kind.replace("sns", "topic"))
    attributes: Any = {"FifoQueue": "true"} if kind.endswith(".fifo") else {}
    name = kind.replace("sqs", "queue")
    url = (await aws.sqs.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"]
    return SqsChannel(aws.sqs, name, url)


async def test_every_message_has_its_own_result_in_order(channel: MessageChannel) -> None:
    """More messages than fit into a call: each is accepted once, with an id of its own."""
    ids = await channel.send([message(subject=str(number)) for number in range(37)])
    assert len(set(ids)) == 37


async def test_sending_no_messages_makes_no_call(channel: MessageChannel) -> None:
    """An empty list returns an empty list."""
    assert await channel.send([]) == []
    assert await channel.try_send([]) == []


async def test_a_message_over_the_limit_fails_alone(channel: MessageChannel) -> None:
    """The limit is in bytes, not characters, attributes included; and the number of attributes is limited."""
    many = message().copy(headers={f"header-{number}": "x" for number in range(7)})
    large = Message("é" * 125_000, message().headers)
    attributes = message(reason="é" * 125_000)
    results = await channel.try_send([message(), many, large, attributes, message()])
    assert [type(result) for result in results] == [
        str,
        MessageTooLarge,
        MessageTooLarge,
        MessageTooLarge,
        str,
    ]


async def test_send_raises_when_a_message_was_not_sent(channel: MessageChannel) -> None:
    """With count and first reason, and the result of each message; the others are sent."""
    with pytest.raises(BatchSendFailed) as raised:
        await channel.send([message(), Message("x" * 250_000, message().headers), message()])
    assert str(raised.value).startswith("1 of 3 messages not sent; the first: MessageTooLarge: ")
    assert [type(result) for result in raised.value.results] == [str, MessageTooLarge, str]


async def test_large_messages_are_split_by_bytes(channel: MessageChannel) -> None:
    """Ten messages that exceed the limit of a call together are all accepted."""
    assert len(await channel.send([Message("x" * 100_000, message().headers) for _ in range(10)])) == 10


async def test_concurrent_senders_receive_their_own_results(channel: MessageChannel) -> None:
    """However their messages were batched."""
    answers = await asyncio.gather(*(channel.send([message(subject=str(n))]) for n in range(25)))
    assert len({sent for [sent] in answers}) == 25


@contextmanager
def counted(client: Any, call: str) -> Any:
    """Count the calls of a client."""
    calls: list[dict[str, Any]] = []

    def count(params: dict[str, Any], **_: Any) -> None:
        calls.append(params)

    client.meta.events.register(f"before-call.*.{call}", count)
    yield calls
    client.meta.events.unregister(f"before-call.*.{call}", count)


async def test_concurrent_senders_share_calls(aws: AwsClients) -> None:
    """Fifty senders with one message each: five calls instead of fifty."""
    channel = SnsChannel(aws.sns, Topology(aws, create=True), "topic")
    await channel.prepare()
    with counted(aws.sns, "PublishBatch") as calls:
        await asyncio.gather(*(channel.send([message()]) for _ in range(50)))
    assert len(calls) == 5


async def test_a_fifo_topic_keeps_the_messages_of_an_aggregate_in_order(aws: AwsClients) -> None:
    """One call at a time, with the subject as the group and the event's id as the deduplication id."""
    channel = SnsChannel(aws.sns, Topology(aws, create=True), "topic.fifo")
    await channel.prepare()
    sent = [message(subject="a", version=version) for version in range(25)]
    with counted(aws.sns, "PublishBatch") as calls:
        await asyncio.gather(*(channel.send([each]) for each in sent))
    bodies = "".join(str(call["body"]) for call in calls)
    places = [bodies.index(each.id) for each in sent]
    assert places == sorted(places)


async def test_a_refused_connection_is_a_retryable_error_per_message() -> None:
    """Not a TerminalError: sending the same message again may succeed."""
    async with aws_clients(region="us-east-1", endpoint_url="http://127.0.0.1:1") as nowhere:
        channel = SnsChannel(nowhere.sns, Topology(nowhere, create=True), "topic")
        results = await channel.try_send([message(), message()])
    assert len(results) == 2
    assert all(isinstance(r, MessagingError) and not isinstance(r, TerminalError) for r in results)


async def test_interceptors_wrap_sending() -> None:
    """In the order of their registration; one may change messages, or not pass them on."""
    order: list[str] = []

    def interceptor(name: str) -> Callable[..., Any]:
        async def intercept(messages: Sequence[Message[str]], proceed: Send) -> list[str | MessagingError]:
            order.append(name)
            return await proceed([each.copy(headers={name: "yes"}) for each in messages])

        return intercept

    seen: list[Message[str]] = []

    class Remembering(MessageChannel):
        async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
            seen.extend(messages)
            return [each.id for each in messages]

    sent = message()
    channel = InterceptedChannel(Remembering(), interceptor("first"), interceptor("second"))
    assert await channel.send([sent]) == [sent.id]
    assert order == ["first", "second"]
    assert {"first", "second"} <= seen[0].headers.keys()
    assert "first" not in sent.headers

"""A listener under test, on a queue and a topic of the real server."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from shared.domain_event import Aggregate, DomainEvent
from shared.messaging import (
    AwsClients,
    ListenerContainer,
    ListenerOptions,
    Message,
    Middleware,
    QueueSettings,
    SnsChannel,
    Topology,
    bindings,
)
from shared.messaging.message import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON, ID, SEQUENCE, SUBJECT, TYPE

QUEUE = "test-queue"
TOPIC = "test-topic"

Handler = Callable[..., Awaitable[None]]


class Painted(DomainEvent):
    """An event for tests."""

    source: Aggregate


class Sold(DomainEvent):
    """Another one."""

    source: Aggregate


def message(
    event_type: str = "Painted", subject: str = "1", version: int = 1, **headers: str
) -> Message[str]:
    payload = json.dumps({"source": {"id": subject, "version": version}, "occurenceOn": 1520393282506})
    about = {ID: str(uuid.uuid4()), TYPE: event_type, SUBJECT: subject, SEQUENCE: str(version)}
    return Message(payload, about | headers)


@dataclass(frozen=True)
class DeadLetter:
    """What is found in a dead-letter queue."""

    body: str
    attributes: dict[str, str]

    @property
    def reason(self) -> str:
        return self.attributes[DEAD_LETTER_REASON]

    @property
    def details(self) -> dict[str, Any]:
        details: dict[str, Any] = json.loads(self.attributes[DEAD_LETTER_DETAILS])
        return details


@dataclass(frozen=True)
class Bench:
    """Sends to the topic and the queue of a listener, and looks into its dead letters."""

    aws: AwsClients
    channel: SnsChannel
    listener: ListenerContainer
    queue_url: str
    dead_letter_url: str

    async def publish(self, *messages: Message[str]) -> None:
        results = await self.channel.send(messages)
        assert all(isinstance(result, str) for result in results), results

    async def send(self, body: str, **attributes: str) -> None:
        """Past the topic, straight into the queue: what no filter policy holds back."""
        await self.aws.sqs.send_message(
            QueueUrl=self.queue_url,
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )

    async def dead_letters(self) -> list[DeadLetter]:
        """Those that are there now; each is seen once."""
        answer = await self.aws.sqs.receive_message(
            QueueUrl=self.dead_letter_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return [
            DeadLetter(
                each["Body"],
                {name: value["StringValue"] for name, value in each.get("MessageAttributes", {}).items()},
            )
            for each in answer.get("Messages", [])
        ]

    async def counts(self) -> tuple[int, int]:
        """Messages that wait in the queue, and messages that are leased."""
        answer = await self.aws.sqs.get_queue_attributes(
            QueueUrl=self.queue_url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        attributes = answer["Attributes"]
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )

    async def is_empty(self) -> bool:
        """Whether nothing waits and nothing is leased."""
        return await self.counts() == (0, 0)


@asynccontextmanager
async def listening(
    aws: AwsClients,
    *handlers: Handler,
    middleware: tuple[Middleware, ...] = (),
    visibility: int = 30,
    max_receive_count: int = 5,
    **options: Any,
) -> AsyncIterator[Bench]:
    """Runs a listener with the handlers, which name QUEUE and TOPIC, until the body ends; then drains it."""
    settings = QueueSettings(visibility=visibility, max_receive_count=max_receive_count)
    topology = Topology(aws, create=True, settings=settings)
    [binding] = bindings(handlers)
    listener = ListenerContainer(topology, binding, middleware=middleware, options=ListenerOptions(**options))
    await listener.prepare()
    running = asyncio.create_task(listener.run())
    try:
        yield Bench(
            aws,
            SnsChannel(aws.sns, topology, TOPIC),
            listener,
            (await aws.sqs.get_queue_url(QueueName=binding.queue))["QueueUrl"],
            (await aws.sqs.get_queue_url(QueueName=binding.dead_letter_queue))["QueueUrl"],
        )
    finally:
        listener.stop()
        await running

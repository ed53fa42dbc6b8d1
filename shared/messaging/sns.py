"""SnsChannel: a topic as a MessageChannel."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from shared.messaging.aws import TRANSIENT, is_topic_gone
from shared.messaging.batching import BYTES, by_count_and_bytes, size_of
from shared.messaging.errors import MessageTooLarge, MessagingError, SendFailed, TopologyError
from shared.messaging.message import Message
from shared.messaging.topology import Topology

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sns.type_defs import PublishBatchRequestEntryTypeDef

log = structlog.get_logger(__name__)

ATTRIBUTES = 10
"""Attributes that survive raw delivery to SQS; with more, the message is silently lost there."""

_CALLS_AT_ONCE = 10


class SnsChannel:
    """Publishes to one topic, in batches of ten and at most 240 KiB. See MessageChannel for the contract."""

    def __init__(self, client: "SNSClient", topology: Topology, topic: str) -> None:
        self.topic = topic
        self._client = client
        self._topology = topology
        self._topic_arn: str | None = None
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def prepare(self) -> None:
        """Finds or creates the topic. Raises TopologyError where it is missing in production; when SNS
        cannot be reached that is left to `send`, so that a service can start without it."""
        try:
            await self._arn()
        except TRANSIENT as error:
            log.warning("topic not reached yet", topic=self.topic, error=str(error))

    async def check(self) -> None:
        """Asks SNS for the topic, and raises when it is missing or SNS does not answer."""
        await self._topology.check_topic(await self._arn())

    async def send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        """For each message its SNS message id, or the error that kept it from being sent."""
        results: dict[int, str | MessagingError] = {}
        sendable: list[tuple[int, Message[str]]] = []
        for number, message in enumerate(messages):
            if (refused := _over_the_limits(message)) is not None:
                results[number] = refused
            else:
                sendable.append((number, message))
        async with asyncio.TaskGroup() as group:
            for batch in by_count_and_bytes(sendable):
                group.create_task(self._send_batch(batch, results))
        return [results[number] for number in range(len(messages))]

    async def _send_batch(
        self, batch: list[tuple[int, Message[str]]], results: dict[int, str | MessagingError]
    ) -> None:
        entries = [_entry(number, message) for number, message in batch]
        try:
            async with self._calls:
                answer = await self._client.publish_batch(
                    TopicArn=await self._arn(), PublishBatchRequestEntries=entries
                )
        except (*TRANSIENT, TopologyError) as error:
            if is_topic_gone(error):
                self._topic_arn = None  # looked up again, and in development created again, next time
            failure = SendFailed(f"SNS did not take the batch: {error!r}")
            results.update({number: failure for number, _ in batch})
            return
        for sent in answer.get("Successful", []):
            results[int(sent["Id"])] = sent["MessageId"]
        for failed in answer.get("Failed", []):
            results[int(failed["Id"])] = SendFailed(f"{failed['Code']}: {failed.get('Message', '')}")
        for number, _ in batch:
            results.setdefault(number, SendFailed("SNS's answer does not mention this message"))

    async def _arn(self) -> str:
        if self._topic_arn is None:
            self._topic_arn = await self._topology.topic_arn(self.topic)
        return self._topic_arn


def _over_the_limits(message: Message[str]) -> MessagingError | None:
    if (size := size_of(message)) > BYTES:
        return MessageTooLarge(f"the message has {size} bytes, the limit is {BYTES}")
    if len(message.headers) > ATTRIBUTES:
        return MessageTooLarge(f"the message has {len(message.headers)} headers, the limit is {ATTRIBUTES}")
    return None


def _entry(number: int, message: Message[str]) -> "PublishBatchRequestEntryTypeDef":
    return {
        "Id": str(number),
        "Message": message.payload,
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value}
            for name, value in message.headers.items()
            if value  # AWS refuses an attribute without a value
        },
    }

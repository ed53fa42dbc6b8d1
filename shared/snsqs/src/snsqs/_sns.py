"""SnsChannel: a topic as a MessageChannel."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snsqs._batching import Batcher
from snsqs._entries import group_of, results_of, text_attributes
from snsqs._errors import MessagingError, SendFailed
from snsqs._message import Message
from snsqs._queue import is_fifo
from snsqs.aws import is_topic_gone, transient_errors
from snsqs.topology import Topology

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sns.type_defs import PublishBatchRequestEntryTypeDef

log = logging.getLogger(__name__)


_PUBLISH_MOST = 3.5
"""Seconds for one call with its retries: less than the relay waits for an answer (5 s)."""


class SnsChannel:
    """Publishes to one topic, ten messages to a call. See MessageChannel for the contract.

    On a FIFO topic the message's subject is its group, and its id deduplicates.
    """

    def __init__(self, client: "SNSClient", topology: Topology, topic: str) -> None:
        self.topic = topic
        self._client = client
        self._topology = topology
        self._topic_arn: str | None = None
        self._batcher = Batcher(self._publish, in_order=is_fifo(topic))

    async def prepare(self) -> None:
        """Finds or creates the topic. Raises TopologyError where it is missing in production; when SNS
        cannot be reached that is left to `send`, so that a service can start without it."""
        try:
            await self._arn()
        except transient_errors() as error:
            log.warning("topic not reached yet", extra={"topic": self.topic, "error": str(error)})

    async def check(self) -> None:
        """Asks SNS for the topic, and raises when it is missing or SNS does not answer."""
        await self._topology.check_topic(await self._arn())

    async def send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        """For each message its SNS message id, or the error that kept it from being sent."""
        return await self._batcher.send(messages)

    async def _publish(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        entries = [_entry(str(place), message, self.topic) for place, message in enumerate(messages)]
        try:
            async with asyncio.timeout(_PUBLISH_MOST):
                answer = await self._client.publish_batch(
                    TopicArn=await self._arn(), PublishBatchRequestEntries=entries
                )
        except transient_errors() as error:
            if is_topic_gone(error):
                self._topic_arn = None  # looked up again, and in development created again, next time
            raise SendFailed(f"SNS did not take the batch: {error!r}") from error
        return results_of(answer, len(messages))

    async def _arn(self) -> str:
        if self._topic_arn is None:
            self._topic_arn = await self._topology.topic_arn(self.topic)
        return self._topic_arn


def _entry(entry_id: str, message: Message[str], topic: str) -> "PublishBatchRequestEntryTypeDef":
    entry: PublishBatchRequestEntryTypeDef = {
        "Id": entry_id,
        "Message": message.payload,
        "MessageAttributes": text_attributes(message),
    }
    if is_fifo(topic):
        entry["MessageGroupId"], entry["MessageDeduplicationId"] = group_of(message), message.id
    return entry

"""SnsChannel: an SNS topic as a MessageChannel."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snsqs._address import parse_address
from snsqs._batching import CALL_TIMEOUT, Batcher, CallRejected, batch_entries, batch_results, is_rejection
from snsqs._channel import MessageChannel
from snsqs._errors import MessagingError, SendFailed
from snsqs._message import Message
from snsqs._refusals import describe
from snsqs._responses import validate_responses
from snsqs._validation import DEFAULT_MAX_BYTES, Destination
from snsqs.aws import is_topic_gone, transient_errors
from snsqs.topology import Topology

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient

log = logging.getLogger(__name__)


class SnsChannel(MessageChannel):
    """Publishes to one topic, in batches of ten. See MessageChannel for the contract.

    On a FIFO topic the group of a message is its `group_id` or subject, and the deduplication id its
    `deduplication_id` or id. On a standard topic a `group_id` is passed on to the queues (fair queues).
    """

    def __init__(
        self, client: "SNSClient", topology: Topology, topic: str, *, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> None:
        """
        Args:
            topic: name, which the topology resolves, or ARN of any account in the client's region, which is
                used as it is: publishing then needs `sns:Publish` only.
            max_bytes: limit of a message, from 1 KiB to 1 MiB. Set it to what the topic and its queues
                (`MaximumMessageSize`) accept.

        Raises ChannelMisconfigured.
        """
        validate_responses(client)
        address = parse_address(topic, "sns")
        address.require_region(client.meta.region_name)
        self.topic = topic
        self._client = client
        self._topology = topology
        self._topic_arn = address.arn
        self._destination = Destination(address.name, is_topic=True, max_bytes=max_bytes)
        self._batcher = Batcher(self._publish, self._destination)

    async def prepare(self) -> None:
        """Find or create the topic. Raises TopologyError when it is missing in production. If SNS is
        unreachable that is left to sending, so that a service starts without it."""
        try:
            await self._arn()
        except transient_errors() as error:
            log.warning("topic not reached yet", extra={"topic": self.topic, "error": str(error)})

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        """Send messages. Return for each its SNS message id, or the error why it was not sent."""
        return await self._batcher.send(messages)

    async def _publish(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        entries = batch_entries(messages, self._destination)
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                response = await self._client.publish_batch(
                    TopicArn=await self._arn(), PublishBatchRequestEntries=entries
                )
        except transient_errors() as error:
            if is_rejection(error):
                raise CallRejected(f"SNS rejected the batch for {self.topic}: {error}") from error
            if is_topic_gone(error) and not self.topic.startswith("arn:"):
                self._topic_arn = None  # the next call looks it up, and in development creates it, again
            reason = describe(error, self.topic)
            raise SendFailed(f"SNS did not accept the batch for {self.topic}: {reason}") from error
        return batch_results(response, len(messages))

    async def _arn(self) -> str:
        if self._topic_arn is None:
            self._topic_arn = await self._topology.topic_arn(self.topic)
        return self._topic_arn

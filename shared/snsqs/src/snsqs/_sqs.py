"""SqsQueue and SqsChannel: an SQS queue to receive from, and as a MessageChannel."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from snsqs._batching import Batcher, batch_entries, batch_results
from snsqs._channel import MessageChannel
from snsqs._errors import MessagingError, SendFailed
from snsqs._message import Message
from snsqs._queue import MAX_BATCH_SIZE, BatchOutcome, RawAttributes, Received, is_fifo
from snsqs.aws import POLL_TIMEOUT, transient_errors

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import (
        BatchResultErrorEntryTypeDef,
        MessageTypeDef,
        SendMessageRequestTypeDef,
    )


_GONE = {
    "ReceiptHandleIsInvalid",
    "InvalidParameterValue",  # AWS: "The receipt handle has expired"
    "MessageNotInflight",
    "AWS.SimpleQueueService.MessageNotInflight",
}


class SqsQueue:
    """One SQS queue. Every call raises the SDK's errors (`aws.transient_errors()`)."""

    def __init__(self, client: "SQSClient", name: str, url: str) -> None:
        self.name = name
        self.url = url
        self._client = client

    async def depth(self) -> tuple[int, int]:
        """Return the numbers of visible and of received messages, as SQS estimates them."""
        response = await self._client.get_queue_attributes(
            QueueUrl=self.url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        counts = response["Attributes"]
        return (
            int(counts["ApproximateNumberOfMessages"]),
            int(counts["ApproximateNumberOfMessagesNotVisible"]),
        )

    async def receive(
        self, *, limit: int = MAX_BATCH_SIZE, wait: int = POLL_TIMEOUT, visibility: int = 30
    ) -> list[Received]:
        """Receive up to `limit` messages (at most ten): immediately if there are any, or none after `wait`
        seconds. Each is hidden from other consumers for `visibility` seconds."""
        response = await self._client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait,
            VisibilityTimeout=visibility,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["ApproximateReceiveCount", "MessageGroupId", "SentTimestamp"],
        )
        leased_at = asyncio.get_running_loop().time()
        return [_received(message, leased_at) for message in response.get("Messages", [])]

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        """Delete up to ten messages. A message that no longer exists counts as deleted."""
        response = await self._client.delete_message_batch(
            QueueUrl=self.url,
            Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(handles)],
        )
        return _batch_outcome(handles, response.get("Failed", []))

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        """Set the visibility timeout of up to ten messages, by receipt handle: 0 to 43,200 s from now."""
        handles = list(seconds)
        response = await self._client.change_message_visibility_batch(
            QueueUrl=self.url,
            Entries=[
                {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": seconds[handle]}
                for i, handle in enumerate(handles)
            ],
        )
        return _batch_outcome(handles, response.get("Failed", []))

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None = None, deduplication: str = ""
    ) -> str:
        """Send one message and return its id. `group` and `deduplication` apply to FIFO queues."""
        request: SendMessageRequestTypeDef = {
            "QueueUrl": self.url,
            "MessageBody": body,
            "MessageAttributes": dict(attributes),
        }
        if is_fifo(self.name):
            request["MessageGroupId"] = group or "none"
            request["MessageDeduplicationId"] = deduplication
        return (await self._client.send_message(**request))["MessageId"]


class SqsChannel(MessageChannel):
    """Sends to one SQS queue, in batches of ten. See MessageChannel for the contract.

    On a FIFO queue the subject of a message is its group, and its id the deduplication id.
    """

    def __init__(self, client: "SQSClient", name: str, url: str) -> None:
        self._client = client
        self._name = name
        self._url = url
        self._batcher = Batcher(self._send, in_order=is_fifo(name))

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        """Send messages. Return for each its SQS message id, or the error why it was not sent."""
        return await self._batcher.send(messages)

    async def _send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        entries = batch_entries(messages, body="MessageBody", is_fifo=is_fifo(self._name))
        try:
            response = await self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except transient_errors() as error:
            raise SendFailed(f"SQS did not accept the batch: {error!r}") from error
        return batch_results(response, len(messages))


def _received(message: "MessageTypeDef", leased_at: float) -> Received:
    system = message.get("Attributes", {})
    return Received(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        raw_attributes=message.get("MessageAttributes", {}),
        receive_count=int(system.get("ApproximateReceiveCount", "1")),
        leased_at=leased_at,
        group=system.get("MessageGroupId"),
        sent_at=datetime.fromtimestamp(int(system.get("SentTimestamp", "0")) / 1000, UTC),
    )


def _batch_outcome(handles: Sequence[str], failed: "Sequence[BatchResultErrorEntryTypeDef]") -> BatchOutcome:
    return BatchOutcome(
        gone=frozenset(handles[int(entry["Id"])] for entry in failed if entry["Code"] in _GONE),
        failed=frozenset(handles[int(entry["Id"])] for entry in failed if entry["Code"] not in _GONE),
    )

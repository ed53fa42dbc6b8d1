"""SQS: a queue to receive from, and a channel to send to."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from snsqs._batching import Batcher
from snsqs._entries import group_of, results_of, text_attributes
from snsqs._errors import MessagingError, SendFailed
from snsqs._message import Message
from snsqs._queue import MAX_BATCH_SIZE, BatchOutcome, RawAttributes, Received, is_fifo
from snsqs.aws import RECEIVE_WAIT, transient_errors

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import (
        BatchResultErrorEntryTypeDef,
        MessageTypeDef,
        SendMessageBatchRequestEntryTypeDef,
        SendMessageRequestTypeDef,
    )


_GONE = {
    "ReceiptHandleIsInvalid",
    "InvalidParameterValue",  # AWS: "The receipt handle has expired"
    "MessageNotInflight",
    "AWS.SimpleQueueService.MessageNotInflight",
}


class SqsQueue:
    """One queue. Every call raises what the SDK raises (`aws.transient_errors`)."""

    def __init__(self, client: "SQSClient", name: str, url: str) -> None:
        self.name = name
        self.url = url
        self._client = client

    async def depth(self) -> tuple[int, int]:
        """How many messages wait, and how many are leased; SQS's own estimates."""
        answer = await self._client.get_queue_attributes(
            QueueUrl=self.url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        counts = answer["Attributes"]
        return (
            int(counts["ApproximateNumberOfMessages"]),
            int(counts["ApproximateNumberOfMessagesNotVisible"]),
        )

    async def receive(
        self, *, limit: int = MAX_BATCH_SIZE, wait: int = RECEIVE_WAIT, visibility: int = 30
    ) -> list[Received]:
        """Up to `limit` messages (10 is SQS's most), at once when there are any, or none after `wait` s."""
        answer = await self._client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait,
            VisibilityTimeout=visibility,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["ApproximateReceiveCount", "MessageGroupId", "SentTimestamp"],
        )
        leased_at = asyncio.get_running_loop().time()
        return [_received(message, leased_at) for message in answer.get("Messages", [])]

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        """Deletes up to ten messages; one that is already gone counts as deleted."""
        answer = await self._client.delete_message_batch(
            QueueUrl=self.url,
            Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(handles)],
        )
        return _outcome(handles, answer.get("Failed", []))

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        """Lets up to ten leases, by receipt handle, end so many seconds from now (0 to 43,200)."""
        handles = list(seconds)
        answer = await self._client.change_message_visibility_batch(
            QueueUrl=self.url,
            Entries=[
                {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": seconds[handle]}
                for i, handle in enumerate(handles)
            ],
        )
        return _outcome(handles, answer.get("Failed", []))

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None = None, deduplication: str = ""
    ) -> str:
        request: SendMessageRequestTypeDef = {
            "QueueUrl": self.url,
            "MessageBody": body,
            "MessageAttributes": dict(attributes),
        }
        if is_fifo(self.name):
            request["MessageGroupId"] = group or "none"
            request["MessageDeduplicationId"] = deduplication
        return (await self._client.send_message(**request))["MessageId"]


class SqsChannel:
    """Sends to one queue, ten messages to a call. See MessageChannel for the contract.

    On a FIFO queue the message's subject is its group, and its id deduplicates.
    """

    def __init__(self, client: "SQSClient", name: str, url: str) -> None:
        self._client = client
        self._name = name
        self._url = url
        self._batcher = Batcher(self._send, in_order=is_fifo(name))

    async def send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        """For each message its SQS message id, or the error that kept it from being sent."""
        return await self._batcher.send(messages)

    async def _send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        entries = [_entry(str(place), message, self._name) for place, message in enumerate(messages)]
        try:
            answer = await self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except transient_errors() as error:
            raise SendFailed(f"SQS did not take the batch: {error!r}") from error
        return results_of(answer, len(messages))


def _entry(entry_id: str, message: Message[str], queue: str) -> "SendMessageBatchRequestEntryTypeDef":
    entry: SendMessageBatchRequestEntryTypeDef = {
        "Id": entry_id,
        "MessageBody": message.payload,
        "MessageAttributes": text_attributes(message),
    }
    if is_fifo(queue):
        entry["MessageGroupId"], entry["MessageDeduplicationId"] = group_of(message), message.id
    return entry


def _received(message: "MessageTypeDef", leased_at: float) -> Received:
    told = message.get("Attributes", {})
    return Received(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        raw_attributes=message.get("MessageAttributes", {}),
        receive_count=int(told.get("ApproximateReceiveCount", "1")),
        leased_at=leased_at,
        group=told.get("MessageGroupId"),
        sent_at=datetime.fromtimestamp(int(told.get("SentTimestamp", "0")) / 1000, UTC),
    )


def _outcome(handles: Sequence[str], failed: "Sequence[BatchResultErrorEntryTypeDef]") -> BatchOutcome:
    return BatchOutcome(
        gone=frozenset(handles[int(entry["Id"])] for entry in failed if entry["Code"] in _GONE),
        failed=frozenset(handles[int(entry["Id"])] for entry in failed if entry["Code"] not in _GONE),
    )

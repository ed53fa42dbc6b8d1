"""SqsQueue: the calls of one queue, with answers that say what became of each message."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.messaging.aws import RECEIVE_WAIT

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import (
        BatchResultErrorEntryTypeDef,
        MessageAttributeValueOutputTypeDef,
        MessageTypeDef,
    )

RawAttributes = Mapping[str, "MessageAttributeValueOutputTypeDef"]


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A message as the queue gave it out, leased to us until its visibility timeout ends."""

    message_id: str
    receipt_handle: str
    body: str
    raw_attributes: RawAttributes
    receive_count: int
    """How often the queue has given it out, this time included (SQS's ApproximateReceiveCount)."""
    leased_at: float
    """The event loop's time when the call returned; a long poll is given its messages at its end."""
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def attributes(self) -> dict[str, str]:
        """The message attributes that are text."""
        return {
            name: value["StringValue"]
            for name, value in self.raw_attributes.items()
            if "StringValue" in value
        }


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What a batch call did not do, by receipt handle. What is in neither set is done."""

    gone: frozenset[str] = frozenset()
    """The receipt handle is no longer ours: deleted already, or given to another consumer."""
    failed: frozenset[str] = frozenset()
    """SQS could not do it now; trying again may help."""


class SqsQueue:
    """One queue. Every call raises what the SDK raises (`aws.TRANSIENT`)."""

    def __init__(self, client: "SQSClient", name: str, url: str) -> None:
        self.name = name
        self.url = url
        self._client = client

    async def receive(
        self, *, limit: int = 10, wait: int = RECEIVE_WAIT, visibility: int = 30
    ) -> list[Received]:
        """Up to `limit` messages (10 is SQS's most), at once when there are any, or none after `wait` s."""
        answer = await self._client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait,
            VisibilityTimeout=visibility,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
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

    async def send(self, body: str, attributes: RawAttributes) -> str:
        """Sends one message and returns its SQS message id."""
        answer = await self._client.send_message(
            QueueUrl=self.url,
            MessageBody=body,
            MessageAttributes=dict(attributes),
        )
        return answer["MessageId"]


def _received(message: "MessageTypeDef", leased_at: float) -> Received:
    return Received(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        raw_attributes=message.get("MessageAttributes", {}),
        receive_count=int(message.get("Attributes", {}).get("ApproximateReceiveCount", "1")),
        leased_at=leased_at,
    )


def _outcome(handles: Sequence[str], failed: "Sequence[BatchResultErrorEntryTypeDef]") -> BatchOutcome:
    # A fault of the sender is about the receipt handle: expired, superseded, or not in flight any more.
    return BatchOutcome(
        gone=frozenset(handles[int(entry["Id"])] for entry in failed if entry["SenderFault"]),
        failed=frozenset(handles[int(entry["Id"])] for entry in failed if not entry["SenderFault"]),
    )

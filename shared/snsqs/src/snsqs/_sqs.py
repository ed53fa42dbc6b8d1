"""SqsQueue and SqsChannel: an SQS queue to receive from, and as a MessageChannel."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from snsqs._address import parse_address
from snsqs._batching import CALL_TIMEOUT, Batcher, CallRejected, batch_entries, batch_results, is_rejection
from snsqs._channel import MessageChannel
from snsqs._errors import MAX_VISIBILITY, MessagingError, SendFailed, TopologyError
from snsqs._message import Message
from snsqs._poll_capacity import poll_capacity
from snsqs._queue import MAX_BATCH_SIZE, BatchOutcome, RawAttributes, Received, is_fifo
from snsqs._refusals import describe
from snsqs._responses import UnexpectedResponse, reading_response, validate_responses
from snsqs._validation import DEFAULT_MAX_BYTES, Destination
from snsqs.aws import POLL_TIMEOUT, is_queue_gone, transient_errors

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import (
        BatchResultErrorEntryTypeDef,
        ChangeMessageVisibilityBatchResultTypeDef,
        DeleteMessageBatchResultTypeDef,
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
        validate_responses(client)
        self.name = name
        self.url = url
        self._client = client
        self._polls = poll_capacity(client).polls

    @property
    def client(self) -> "SQSClient":
        """Client of the queue's region."""
        return self._client

    async def depth(self) -> tuple[int, int]:
        """Return the numbers of visible and of received messages, as SQS estimates them."""
        response = await self._client.get_queue_attributes(
            QueueUrl=self.url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        with reading_response("GetQueueAttributes"):
            counts = response["Attributes"]
            return (
                int(counts["ApproximateNumberOfMessages"]),
                int(counts["ApproximateNumberOfMessagesNotVisible"]),
            )

    async def receive(
        self, *, limit: int = MAX_BATCH_SIZE, wait: int = POLL_TIMEOUT, visibility: int = 30
    ) -> list[Received]:
        """Receive up to `limit` messages (at most ten): immediately if there are any, or none after `wait`
        seconds. Each is hidden from other consumers for `visibility` seconds. Raises ValueError for values
        that SQS rejects."""
        for name, value, minimum, maximum in (
            ("limit", limit, 1, MAX_BATCH_SIZE),
            ("wait", wait, 0, POLL_TIMEOUT),
            ("visibility", visibility, 0, MAX_VISIBILITY),
        ):
            if not minimum <= value <= maximum:
                raise ValueError(f"receive: {name} is {value!r}; set {minimum} to {maximum}")
        async with self._polls if wait else nullcontext():
            response = await self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=wait,
                VisibilityTimeout=visibility,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=[
                    "ApproximateReceiveCount",
                    "MessageGroupId",
                    "SentTimestamp",
                    "AWSTraceHeader",
                ],
            )
        leased_at = asyncio.get_running_loop().time()
        with reading_response("ReceiveMessage"):
            return [_received(message, leased_at) for message in response.get("Messages", [])]

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        """Delete up to ten messages. A message that no longer exists counts as deleted."""
        response = await self._client.delete_message_batch(
            QueueUrl=self.url,
            Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(handles)],
        )
        return _batch_outcome("DeleteMessageBatch", handles, response)

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
        return _batch_outcome("ChangeMessageVisibilityBatch", handles, response)

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None = None, deduplication: str = ""
    ) -> str:
        """Send one message and return its id. `deduplication` applies to FIFO queues only."""
        request: SendMessageRequestTypeDef = {
            "QueueUrl": self.url,
            "MessageBody": body,
            "MessageAttributes": dict(attributes),
        }
        if is_fifo(self.name):
            request["MessageGroupId"] = group or "none"
            request["MessageDeduplicationId"] = deduplication
        elif group is not None:
            request["MessageGroupId"] = group
        return (await self._client.send_message(**request))["MessageId"]


class SqsChannel(MessageChannel):
    """Sends to one SQS queue, in batches of ten. See MessageChannel for the contract.

    On a FIFO queue the group of a message is its `group_id` or subject, and the deduplication id its
    `deduplication_id` or id. On a standard queue a `group_id` makes it a fair queue, and `delay` is possible.
    """

    def __init__(
        self,
        client: "SQSClient",
        queue: str,
        url: str | None = None,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        aws_trace_header: bool = False,
    ) -> None:
        """
        Args:
            queue: name, URL or ARN, also of another account, in the client's region. The URL of a name or
                ARN is looked up when the first message is sent.
            url: URL of the queue, to save the lookup of a name or ARN.
            max_bytes: limit of a message, from 1 KiB to 1 MiB. Set it to the queue's `MaximumMessageSize`.
            aws_trace_header: send `traceparent` also as SQS's system attribute `AWSTraceHeader`, for X-Ray.

        Raises ChannelMisconfigured.
        """
        validate_responses(client)
        self._address = parse_address(queue, "sqs")
        self._address.require_region(client.meta.region_name)
        self._client = client
        self._url = url or self._address.url
        self._destination = Destination(
            self._address.name, is_topic=False, max_bytes=max_bytes, has_trace_header=aws_trace_header
        )
        self._batcher = Batcher(self._send, self._destination)

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        """Send messages. Return for each its SQS message id, or the error why it was not sent."""
        return await self._batcher.send(messages)

    async def _send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        entries = batch_entries(messages, self._destination)
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                url = await self._queue_url()
                response = await self._client.send_message_batch(QueueUrl=url, Entries=entries)
        except transient_errors() as error:
            if is_rejection(error):
                raise CallRejected(f"SQS rejected the batch for {self._address.name}: {error}") from error
            reason = describe(error, self._address.name)
            raise SendFailed(f"SQS did not accept the batch: {reason}") from error
        return batch_results(response, len(messages))

    async def _queue_url(self) -> str:
        if self._url is None:
            name, account = self._address.name, self._address.account
            owner: dict[str, Any] = {"QueueOwnerAWSAccountId": account} if account else {}
            try:
                self._url = (await self._client.get_queue_url(QueueName=name, **owner))["QueueUrl"]
            except transient_errors() as error:
                if is_queue_gone(error):
                    where = f"account {account}" if account else "this account and region"
                    raise TopologyError(
                        f"the queue {name} does not exist in {where}; create it first"
                    ) from error
                raise
        return self._url


def _received(message: "MessageTypeDef", leased_at: float) -> Received:
    system = message.get("Attributes", {})
    return Received(
        message_id=_text(message["MessageId"]),
        receipt_handle=_text(message["ReceiptHandle"]),
        body=_text(message["Body"]),
        raw_attributes=message.get("MessageAttributes", {}),
        receive_count=int(system.get("ApproximateReceiveCount", "1")),
        leased_at=leased_at,
        group=system.get("MessageGroupId"),
        trace_header=system.get("AWSTraceHeader"),
        sent_at=_time(system.get("SentTimestamp")),
    )


def _time(milliseconds: str | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _batch_outcome(
    operation: str,
    handles: Sequence[str],
    response: "DeleteMessageBatchResultTypeDef | ChangeMessageVisibilityBatchResultTypeDef",
) -> BatchOutcome:
    """Return the outcome of a batch call. An entry that the response does not mention has failed. Raises the
    error of the first entry if all failed."""
    with reading_response(operation):
        succeeded = {entry["Id"] for entry in response.get("Successful", ())}
        errors = {entry["Id"]: entry for entry in response.get("Failed", ())}
        gone = {key for key, entry in errors.items() if entry["Code"] in _GONE}
        failed = {str(position) for position in range(len(handles))} - succeeded - gone
        outcome = BatchOutcome(
            gone=frozenset(handles[int(key)] for key in gone),
            failed=frozenset(handles[int(key)] for key in failed),
        )
    if len(failed) == len(handles):
        raise _entry_error(operation, next(iter(errors.values()), None))
    return outcome


def _entry_error(operation: str, entry: "BatchResultErrorEntryTypeDef | None") -> Exception:
    from botocore.exceptions import ClientError

    if entry is None:
        return UnexpectedResponse(f"unexpected response to {operation}: it mentions none of the entries")
    return ClientError({"Error": {"Code": entry["Code"], "Message": entry.get("Message", "")}}, operation)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} instead of text")
    return value

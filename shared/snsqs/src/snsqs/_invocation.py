"""Queue of one invocation of AWS Lambda, and the records of its event."""

# ruff: noqa: ARG002 - methods of a queue that does less
import asyncio
import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from snsqs._queue import BatchOutcome, Queue, RawAttributes, Received
from snsqs.headers import DEAD_LETTER_REASON

log = logging.getLogger(__name__)


class ReportingQueue:
    """Queue without a topology: what fails is reported to Lambda, and nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        return []

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        return BatchOutcome()

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        return BatchOutcome()

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        reason = attributes[DEAD_LETTER_REASON]["StringValue"]
        about = {"queue": self.name, "message_id": deduplication, "reason": reason}
        log.error("message cannot succeed, it is reported to Lambda", extra=about)
        raise ConnectionError("LambdaHandler has no `topology` that finds the dead-letter queue")


class InvocationQueue(ReportingQueue):
    """Queue of one invocation. What is deleted is done: Lambda deletes it. All else is reported."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.name)
        self.deleted: set[str] = set()
        self._queue = queue

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        self.deleted.update(handles)
        return BatchOutcome()

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        return await self._queue.change_visibility(seconds)


def received(record: Mapping[str, Any]) -> Received:
    """Return the message of a record, received now."""
    system = record.get("attributes", {})
    return Received(
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        body=record["body"],
        raw_attributes={
            name: _attribute(value) for name, value in record.get("messageAttributes", {}).items()
        },
        receive_count=int(system.get("ApproximateReceiveCount", "1")),
        leased_at=asyncio.get_running_loop().time(),
        group=system.get("MessageGroupId"),
        trace_header=system.get("AWSTraceHeader"),
        sent_at=datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, UTC)
        if "SentTimestamp" in system
        else None,
    )


def _attribute(value: Mapping[str, Any]) -> Any:
    """Lambda spells the members of an attribute in lower case, and encodes binary values."""
    if value.get("stringValue") is not None:
        return {"DataType": value["dataType"], "StringValue": value["stringValue"]}
    return {"DataType": value["dataType"], "BinaryValue": base64.b64decode(value.get("binaryValue", ""))}

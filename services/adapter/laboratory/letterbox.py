"""What the laboratory does to a queue, and sees of its dead letters."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

QUEUE = "scm-adapter-order-event-queue"
_BAD = '{"source": {"id": "not an order", "orderLines": "none"}'


class Letterbox:
    """SCM's queue and its dead-letter queue, at the SQS that the adapter publishes to."""

    def __init__(self, sqs: "SQSClient") -> None:
        self._sqs = sqs

    async def poison(self) -> None:
        """Sends what no handler can read."""
        await self._sqs.send_message(
            QueueUrl=await self._url(QUEUE),
            MessageBody=_BAD,
            MessageAttributes={"ce-type": {"DataType": "String", "StringValue": "OrderCompleted"}},
        )

    async def dead_letters(self) -> int:
        answer = await self._sqs.get_queue_attributes(
            QueueUrl=await self._url(f"{QUEUE}-dlq"),
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        return sum(int(count) for count in answer["Attributes"].values())

    async def _url(self, queue: str) -> str:
        return (await self._sqs.get_queue_url(QueueName=queue))["QueueUrl"]

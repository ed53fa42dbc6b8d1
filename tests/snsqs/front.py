"""Front of SNS and SQS: an HTTP server with queues in memory, whose answers can be replaced."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from snsqs import AwsClients, Message, aws_clients
from snsqs.queues import message_attributes
from snsqs.testing import Faults, MemoryQueue

TOPIC_ARN = "arn:aws:sns:us-east-1:000000000000:topic"

JSON = "application/x-amz-json-1.0"

Answer = Callable[[], web.Response]


def refused(code: str, status: int = 400, text: str = "") -> Answer:
    """An error of SQS."""
    body = {"__type": f"com.amazonaws.sqs#{code}", "message": text or code}
    return lambda: web.json_response(body, status=status, content_type=JSON)


def refused_by_sns(code: str, status: int = 403) -> Answer:
    """An error of SNS."""
    text = f"<ErrorResponse><Error><Code>{code}</Code><Message>refused</Message></Error></ErrorResponse>"
    return lambda: web.Response(text=text, status=status, content_type="text/xml")


def answered(body: str | bytes, status: int = 200, media_type: str = JSON) -> Answer:
    """Any response."""
    raw = body.encode() if isinstance(body, str) else body
    return lambda: web.Response(body=raw, status=status, content_type=media_type)


@dataclass
class Front:
    """Queues in memory, which exist when they are first named, behind the JSON protocol of SQS; and a topic
    that accepts everything, behind the query protocol of SNS."""

    answers: dict[str, Answer] = field(default_factory=dict)
    """Answers by action, in place of those of the queues."""
    calls: Counter[str] = field(default_factory=Counter)
    queues: dict[str, MemoryQueue] = field(default_factory=dict)
    url: str = ""
    visibility: int = 30
    """Visibility timeout of every queue, in seconds."""

    def queue(self, name: str) -> MemoryQueue:
        return self.queues.setdefault(name, MemoryQueue(name, Faults()))

    def put(self, name: str, message: Message[str]) -> None:
        """Put a message into a queue, where a receive call that waits returns it."""
        queue = self.queue(name)
        queue.put(queue.next_id(), message.payload, message_attributes(message), None, message.id)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        target = request.headers.get("X-Amz-Target", "")
        action = target.partition(".")[2] or parse_qs(body)["Action"][0]
        self.calls[action] += 1
        if (answer := self.answers.get(action)) is not None:
            return answer()
        if not target:
            return _published(parse_qs(body))
        parameters = await request.json()
        response = await getattr(self, f"_{action}")(parameters)
        return web.json_response(response, content_type=JSON)

    def _of(self, parameters: dict[str, Any]) -> MemoryQueue:
        return self.queue(parameters["QueueUrl"].rpartition("/")[2])

    async def _GetQueueUrl(self, parameters: dict[str, Any]) -> Any:  # noqa: N802 - name of the action
        return {"QueueUrl": f"{self.url}/000000000000/{parameters['QueueName']}"}

    async def _GetQueueAttributes(self, parameters: dict[str, Any]) -> Any:  # noqa: N802
        name = self._of(parameters).name
        arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
        return {"Attributes": {"QueueArn": arn, "VisibilityTimeout": str(self.visibility)}}

    async def _ReceiveMessage(self, parameters: dict[str, Any]) -> Any:  # noqa: N802
        received = await self._of(parameters).receive(
            limit=parameters["MaxNumberOfMessages"],
            wait=parameters["WaitTimeSeconds"],
            visibility=parameters["VisibilityTimeout"],
        )
        return {
            "Messages": [
                {
                    "MessageId": each.message_id,
                    "ReceiptHandle": each.receipt_handle,
                    "Body": each.body,
                    "MessageAttributes": each.raw_attributes,
                    "Attributes": {"ApproximateReceiveCount": str(each.receive_count)},
                }
                for each in received
            ]
        }

    async def _DeleteMessageBatch(self, parameters: dict[str, Any]) -> Any:  # noqa: N802
        handles = {entry["ReceiptHandle"]: entry["Id"] for entry in parameters["Entries"]}
        await self._of(parameters).delete(list(handles))
        return {"Successful": [{"Id": each} for each in handles.values()]}

    async def _ChangeMessageVisibilityBatch(self, parameters: dict[str, Any]) -> Any:  # noqa: N802
        entries = {entry["ReceiptHandle"]: entry for entry in parameters["Entries"]}
        seconds = {handle: entry["VisibilityTimeout"] for handle, entry in entries.items()}
        outcome = await self._of(parameters).change_visibility(seconds)
        code = "ReceiptHandleIsInvalid"
        gone = [{"Id": entries[each]["Id"], "Code": code, "SenderFault": True} for each in outcome.gone]
        done = [{"Id": entry["Id"]} for handle, entry in entries.items() if handle not in outcome.gone]
        return {"Successful": done, "Failed": gone}

    async def _SendMessage(self, parameters: dict[str, Any]) -> Any:  # noqa: N802
        attributes = parameters.get("MessageAttributes", {})
        queue = self._of(parameters)
        sent = await queue.send(parameters["MessageBody"], attributes, group=None, deduplication="")
        return {"MessageId": sent}

    async def _SendMessageBatch(self, parameters: dict[str, Any]) -> Any:  # noqa: N802
        sent = [{"Id": entry["Id"], "MessageId": f"m{entry['Id']}"} for entry in parameters["Entries"]]
        return {"Successful": sent}


def _published(parameters: dict[str, list[str]]) -> web.Response:
    ids = [value for name, [value] in parameters.items() if name.endswith(".Id")]
    members = "".join(f"<member><Id>{each}</Id><MessageId>m{each}</MessageId></member>" for each in ids)
    text = (
        '<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult>'
        f"<Failed/><Successful>{members}</Successful></PublishBatchResult></PublishBatchResponse>"
    )
    return web.Response(text=text, content_type="text/xml")


@asynccontextmanager
async def serving_front(*, visibility: int = 30, **options: Any) -> AsyncIterator[tuple[Front, AwsClients]]:
    """Serve a front, and open clients of it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "test"
    front = Front(visibility=visibility)
    server = web.Server(front)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        front.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with aws_clients(region="us-east-1", endpoint_url=front.url, **options) as clients:
            yield front, clients
    finally:
        listening.close()
        await server.shutdown(1)

"""Calls that AWS rejects as a whole for one message, without naming it, as the local server never does."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from fastapi import FastAPI, Request, Response
from snsqs import (
    Message,
    MessageChannel,
    SendFailed,
    SnsChannel,
    SqsChannel,
    TerminalError,
    Topology,
    aws_clients,
)

from local.ports import HOST, free_ports
from tests.serving import serving
from tests.snsqs.queues import message

QUEUE_URL = "https://sqs.us-east-1.amazonaws.com/1/work"
TOPIC_ARN = "arn:aws:sns:us-east-1:1:topic"

BAD, LOST = '"bad"', '"lost"'


class Account:
    """Server for batch calls: those with the payload BAD are rejected, one with LOST alone is denied."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.app = FastAPI()
        self.app.add_api_route("/", self.answer, methods=["POST"])

    async def answer(self, request: Request) -> Response:
        body = (await request.body()).decode()
        is_sqs = "x-amz-target" in request.headers
        if is_sqs:
            payloads = [entry["MessageBody"] for entry in json.loads(body)["Entries"]]
        else:
            payloads = [values[0] for name, values in parse_qs(body).items() if name.endswith(".Message")]
        self.calls.append(payloads)
        status = 400 if BAD in payloads else 403 if LOST in payloads and len(payloads) == 1 else 200
        if is_sqs:
            return Response(
                json.dumps(self._sqs(status, payloads)), status, media_type="application/x-amz-json-1.0"
            )
        return Response(self._sns(status, payloads), status, media_type="text/xml")

    @staticmethod
    def _sqs(status: int, payloads: list[str]) -> Any:
        if status != 200:
            code = "InvalidParameterValue" if status == 400 else "AccessDeniedException"
            return {"__type": f"com.amazonaws.sqs#{code}", "message": "no"}
        entries = [{"Id": str(n), "MessageId": f"id-{each}"} for n, each in enumerate(payloads)]
        return {"Successful": entries, "Failed": []}

    @staticmethod
    def _sns(status: int, payloads: list[str]) -> str:
        if status != 200:
            code = "InvalidParameter" if status == 400 else "AuthorizationError"
            return f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        members = "".join(
            f"<member><Id>{n}</Id><MessageId>id-{each}</MessageId></member>"
            for n, each in enumerate(payloads)
        )
        return (
            f"<PublishBatchResponse><PublishBatchResult><Successful>{members}</Successful><Failed/>"
            "</PublishBatchResult></PublishBatchResponse>"
        )


@pytest.fixture(params=["topic", "topic.fifo", "work", "work.fifo"])
async def rejecting(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[MessageChannel, Account]]:
    """A channel, and the account that it sends to."""
    name: str = request.param
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "test")
    account, [port] = Account(), free_ports(1)
    async with (
        serving(account.app, port),
        aws_clients(region="us-east-1", endpoint_url=f"http://{HOST}:{port}") as aws,
    ):
        if name.startswith("topic"):
            arn = TOPIC_ARN.replace("topic", name)
            yield SnsChannel(aws.sns, Topology(aws, create=False), arn), account
        else:
            yield SqsChannel(aws.sqs, name, QUEUE_URL.replace("work", name)), account


async def test_the_neighbours_of_a_message_that_a_call_is_rejected_for_are_sent(
    rejecting: tuple[MessageChannel, Account],
) -> None:
    """One by one, in order; the message itself has a TerminalError, another failure its own error."""
    channel, account = rejecting
    payloads = ['"1"', BAD, '"3"', LOST, '"5"']
    results = await channel.try_send([Message(each, message().headers) for each in payloads])
    assert [result for result in results if isinstance(result, str)] == ['id-"1"', 'id-"3"', 'id-"5"']
    assert isinstance(results[1], TerminalError)
    assert "rejected the batch for" in str(results[1])
    assert isinstance(results[3], SendFailed)
    assert account.calls[:6] == [payloads, *([each] for each in payloads)]

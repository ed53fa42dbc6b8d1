"""Requests of browsers to the local SNS/SQS server."""

import httpx
import pytest
from snsqs import AwsClients

SEND = {"Action": "SendMessage", "MessageBody": "forged"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:4566"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
    ids=str,
)
async def test_no_page_can_use_its_queues(
    aws_url: str, aws: AwsClients, headers: dict[str, str], status: int
) -> None:
    """Read, forge and wipe them: every path is rejected, by GET and by POST, and nothing has changed."""
    queue = (await aws.sqs.create_queue(QueueName="orders"))["QueueUrl"]
    await aws.sqs.send_message(QueueUrl=queue, MessageBody="original")
    async with httpx.AsyncClient(base_url=aws_url) as page:
        for path in ("/_ministack/reset", "/", "/000000000000/orders"):
            for method in ("GET", "POST"):
                answer = await page.request(method, path, params=SEND, data=SEND, headers=headers)
                assert answer.status_code == status
                assert "access-control-allow-origin" not in answer.headers
    received = await aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    assert [each["Body"] for each in received["Messages"]] == ["original"]

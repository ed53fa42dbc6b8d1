"""The SNS/SQS server of the benchmarks, and its queues."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from snsqs import AwsClients, SqsChannel, Topology, aws_clients, bindings, sqs_listener

from benchmarks.event import QUEUE, REGION, TOPIC, Measured, message
from local.ports import HOST, free_ports
from local.system import aws_program

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}


@asynccontextmanager
async def aws_server() -> AsyncIterator[str]:
    """The URL of a server of its own, for this process and its children."""
    os.environ |= CREDENTIALS
    [port] = free_ports(1)
    url = f"http://{HOST}:{port}"
    with tempfile.TemporaryDirectory() as folder:
        server = aws_program(port, Path(folder))
        await server.start()
        try:
            await server.wait_until_ready(f"{url}/_ministack/health")
            yield url
        finally:
            await server.stop()


async def fill(url: str, count: int) -> None:
    """Leave nothing on the server but the queue, with `count` messages."""
    async with httpx.AsyncClient(trust_env=False) as http:
        (await http.post(f"{url}/_ministack/reset")).raise_for_status()

    async with aws_clients(region=REGION, endpoint_url=url) as clients:
        await make_queue(clients)
        queue_url = (await clients.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
        channel = SqsChannel(clients.sqs, QUEUE, queue_url)
        for start in range(0, count, 100):
            await channel.send([message(number) for number in range(start, start + 100)])


async def make_queue(clients: AwsClients) -> None:
    """Create the queue as a listener does."""

    @sqs_listener(QUEUE, topic=TOPIC)
    async def handler(event: Measured) -> None: ...

    [binding] = bindings([handler])
    await Topology(clients, create=True).listener_queues(binding)

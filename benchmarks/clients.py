"""The processes that are measured: `python -m benchmarks.clients KIND URL COUNT IN_FLIGHT`.

Each prints one line of JSON: seconds, CPU seconds (user and system) and calls of SNS and SQS, from its
first call to its last.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig

from shared.domain_event import Aggregate, DomainEvent
from shared.messaging import (
    AwsClients,
    ListenerContainer,
    ListenerOptions,
    SnsChannel,
    Topology,
    aws_clients,
    bindings,
    sqs_listener,
)
from shared.messaging.entries import text_attributes
from shared.messaging.message import ID, SEQUENCE, SUBJECT, TYPE, Message

QUEUE, TOPIC = "bench-queue", "bench-topic"
REGION = "us-east-1"


class Measured(DomainEvent):
    """An empty event."""

    source: Aggregate


def message(number: int) -> Message[str]:
    """A small event, with the attributes that every event has."""
    payload = json.dumps({"source": {"id": str(number), "version": 1}, "occurenceOn": 1520393282506})
    return Message(payload, {ID: f"id-{number}", TYPE: "Measured", SUBJECT: str(number), SEQUENCE: "1"})


async def our_listener(clients: AwsClients, count: int, in_flight: int) -> None:
    """A container with an empty handler, until it has handled and deleted so many messages."""
    handled, done = 0, asyncio.Event()

    @sqs_listener(QUEUE, topic=TOPIC)
    async def handler(event: Measured) -> None:
        nonlocal handled
        handled += 1
        if handled == count:
            done.set()

    [binding] = bindings([handler])
    options = ListenerOptions(in_flight=in_flight, wait=1)
    listener = ListenerContainer(Topology(clients, create=True), binding, options=options)
    await listener.prepare()
    running = asyncio.create_task(listener.run())
    await done.wait()
    listener.stop()
    await running


async def bare_listener(clients: AwsClients, count: int, in_flight: int) -> None:
    """What one writes by hand: receive ten, parse them, delete them; as many loops as we have receivers."""
    url = (await clients.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
    handled = 0

    async def loop() -> None:
        nonlocal handled
        while handled < count:
            answer = await clients.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
            )
            received = answer.get("Messages", [])
            for each in received:
                Measured.model_validate_json(each["Body"])
            if received:
                entries: Any = [
                    {"Id": str(i), "ReceiptHandle": each["ReceiptHandle"]} for i, each in enumerate(received)
                ]
                await clients.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            handled += len(received)

    await asyncio.gather(*(loop() for _ in range(1 if in_flight <= 10 else 4)))


async def our_publisher(clients: AwsClients, count: int, in_flight: int) -> None:
    """A channel that is given a hundred messages at a time."""
    channel = SnsChannel(clients.sns, Topology(clients, create=True), TOPIC)
    for start in range(0, count, 100):
        await channel.send([message(number) for number in range(start, start + 100)])


async def bare_publisher(clients: AwsClients, count: int, in_flight: int) -> None:
    """`publish_batch` by hand, ten calls at a time."""
    arn = (await clients.sns.create_topic(Name=TOPIC))["TopicArn"]

    async def publish(start: int) -> None:
        entries: Any = [
            {"Id": str(n), "Message": each.payload, "MessageAttributes": text_attributes(each)}
            for n, each in ((n, message(n)) for n in range(start, start + 10))
        ]
        await clients.sns.publish_batch(TopicArn=arn, PublishBatchRequestEntries=entries)

    for start in range(0, count, 100):
        await asyncio.gather(*(publish(start + ten) for ten in range(0, 100, 10)))


KINDS: dict[str, Callable[[AwsClients, int, int], Awaitable[None]]] = {
    "our-listener": our_listener,
    "bare-listener": bare_listener,
    "our-publisher": our_publisher,
    "bare-publisher": bare_publisher,
}


async def measure(kind: str, url: str, count: int, in_flight: int) -> dict[str, float]:
    calls = 0

    def count_call(**_: object) -> None:
        nonlocal calls
        calls += 1

    async with _clients(kind, url) as clients:
        for client in (clients.sns, clients.sqs):
            client.meta.events.register("before-call.*.*", count_call)
        began, cpu = time.perf_counter(), _cpu()
        await KINDS[kind](clients, count, in_flight)
        return {"seconds": time.perf_counter() - began, "cpu": _cpu() - cpu, "calls": calls}


def _clients(kind: str, url: str) -> AbstractAsyncContextManager[AwsClients]:
    """Ours, or the SDK's as they come."""
    return aws_clients(region=REGION, endpoint_url=url) if kind.startswith("our") else _plain_clients(url)


@asynccontextmanager
async def _plain_clients(url: str) -> AsyncIterator[AwsClients]:
    session, config = aioboto3.Session(region_name=REGION), AioConfig(max_pool_connections=50)
    async with (
        session.client("sns", endpoint_url=url, config=config) as sns,
        session.client("sqs", endpoint_url=url, config=config) as sqs,
    ):
        yield AwsClients(sns, sqs)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    kind, url, count, in_flight = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(kind, url, int(count), int(in_flight)))))

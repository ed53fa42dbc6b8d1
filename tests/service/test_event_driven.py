"""Composition of a service: PostgreSQL connections and options of its listeners."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from snsqs import AwsClients, Binding, DomainEvent, ListenerOptions, bindings, sqs_listener
from snsqs.headers import ID, SEQUENCE, SUBJECT, TYPE

from services.order.settings import Settings
from shared.service import TooFewConnections, connection_limit, event_driven
from shared.web import application
from tests.serving import eventually, serving

UNUSED: Any = None


class Painted(DomainEvent):
    """An event for the tests."""


release = asyncio.Event()


@sqs_listener("orders-queue", topic="order-events")
async def on_painted(event: Painted) -> None:
    """Waits until the test releases it."""
    await release.wait()


def with_options(**options: Any) -> list[Binding]:
    return bindings([on_painted], options={"orders-queue": ListenerOptions(**options)})


async def start(database_max_connections: int | None = None, **options: Any) -> None:
    """Compose a service; its database does not exist."""
    settings = Settings(
        environment="development",
        database_url="postgresql://127.0.0.1:1/none",
        database_max_connections=database_max_connections,
    )
    app = application(title="Test", description="", lifespan=UNUSED, settings=settings)
    async with (
        httpx.AsyncClient() as http,
        event_driven(
            app,
            settings,
            source="test",
            publishes=[],
            handlers=with_options(**options),
            accepts={"test"},
            http=http,
        ),
    ):
        pytest.fail("the service has started without a database")


def test_a_connection_for_every_handler_loop_and_request() -> None:
    """Ten handlers at a time on each queue, four loops, eight requests."""
    assert connection_limit([]) == 12
    assert connection_limit([ListenerOptions(), ListenerOptions()]) == 32
    assert connection_limit([ListenerOptions(max_concurrency=3)]) == 15


def test_a_configured_limit_leaves_a_connection_to_rest() -> None:
    """Less is an error that names the minimum and its parts."""
    assert connection_limit([ListenerOptions()], 15) == 15
    with pytest.raises(TooFewConnections, match="below the minimum of 15: 10 for handlers, 4 for background"):
        connection_limit([ListenerOptions()], 14)


async def test_too_few_connections_prevent_a_start() -> None:
    """The setting is validated against the listeners' concurrency before anything is opened."""
    with pytest.raises(TooFewConnections, match="DATABASE_MAX_CONNECTIONS=14"):
        await start(database_max_connections=14)


async def test_options_of_a_listener_count_for_its_connections() -> None:
    """With 20 handlers at a time on its queue, the same limit is too low."""
    with pytest.raises(TooFewConnections, match="below the minimum of 25"):
        await start(database_max_connections=15, max_concurrency=20)


async def test_a_listener_runs_with_the_options_of_its_queue(order_database: str, aws: AwsClients) -> None:
    """With one handler at a time, the second message waits in its queue."""
    settings = Settings(
        environment="development", database_url=order_database, aws_endpoint_url=aws.sqs.meta.endpoint_url
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            httpx.AsyncClient() as http,
            event_driven(
                app,
                settings,
                source="test",
                publishes=[],
                handlers=with_options(max_concurrency=1),
                accepts={"test"},
                http=http,
            ),
        ):
            yield

    async with serving(
        application(title="Test", description="", lifespan=lifespan, settings=settings)
    ) as test:
        url = (await aws.sqs.get_queue_url(QueueName="orders-queue"))["QueueUrl"]
        for number in ("1", "2"):
            attributes: Any = {
                name: {"DataType": "String", "StringValue": value}
                for name, value in {ID: number, TYPE: "Painted", SUBJECT: number, SEQUENCE: "1"}.items()
            }
            body = json.dumps({"source": {"id": number, "version": 1}, "occurenceOn": 1})
            await aws.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)

        async def one_handled_at_a_time() -> bool:
            [listener] = (await test.http.get("/progress")).json()["listeners"]
            queue = await aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            waiting = queue["Attributes"]["ApproximateNumberOfMessages"]
            return (listener["inFlight"], listener["buffered"], waiting) == (1, 0, "1")

        try:
            await eventually(one_handled_at_a_time)
        finally:
            release.set()

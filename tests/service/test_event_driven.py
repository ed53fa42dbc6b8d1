"""Composition of a service: PostgreSQL connections and options of its listeners."""

from typing import Any

import httpx
import pytest
from snsqs import DomainEvent, ListenerMisconfigured, ListenerOptions, sqs_listener

from services.order.settings import Settings
from shared.service import TooFewConnections, connection_limit, event_driven
from shared.web import application

UNUSED: Any = None


class Painted(DomainEvent):
    """An event for the tests."""


@sqs_listener("orders-queue", topic="order-events")
async def on_painted(event: Painted) -> None:
    """Handles nothing."""


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
        event_driven(app, settings, source="test", handlers=[on_painted], http=http, **options),
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


async def test_options_of_one_queue_count_for_its_connections() -> None:
    """With 20 handlers at a time on its queue, the same limit is too low."""
    options = {"orders-queue": ListenerOptions(max_concurrency=20)}
    with pytest.raises(TooFewConnections, match="below the minimum of 25"):
        await start(database_max_connections=15, listener_options=options)


async def test_options_for_all_queues_count_for_their_connections() -> None:
    with pytest.raises(TooFewConnections, match="below the minimum of 25"):
        await start(database_max_connections=15, listener_options=ListenerOptions(max_concurrency=20))


async def test_options_of_a_queue_without_handlers_prevent_a_start() -> None:
    """A mistyped queue name must not leave a listener with the default options."""
    with pytest.raises(ListenerMisconfigured, match=r"other-queue.*the queues are orders-queue"):
        await start(listener_options={"other-queue": ListenerOptions()})

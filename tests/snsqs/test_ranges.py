"""Options that cannot work are rejected where they are set."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from snsqs import ListenerMisconfigured, ListenerOptions, QueueSettings, aws_clients
from snsqs.background import PollingLoop
from snsqs.events import ApplicationEventPublisher
from snsqs.outbox import RelayOptions
from snsqs.postgres import connect
from snsqs.queues import LeaseKeeper, SqsQueue
from snsqs.retention import Expiry, RetentionOptions
from snsqs.testing import Faults, MemoryQueue

from tests.snsqs.front import serving_front
from tests.snsqs.queues import QUEUE


async def work() -> None: ...


def loop(**times: Any) -> PollingLoop:
    return PollingLoop("test", work, retry_on=(), **{"interval": 1.0, "max_backoff": 1.0} | times)


def expiry(days: Any) -> Expiry:
    return Expiry("inbox", "received_at", days)


def leases(visibility: Any) -> LeaseKeeper:
    return LeaseKeeper(MemoryQueue(QUEUE, Faults()), visibility)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ListenerOptions(poll_timeout=0), "poll_timeout is 0; set a whole number from 1 to 20"),
        (lambda: ListenerOptions(poll_timeout=25), "poll_timeout is 25; set a whole number from 1 to 20"),
        (lambda: ListenerOptions(max_concurrency=0), "max_concurrency is 0; set a whole number"),
        (lambda: ListenerOptions(max_backoff=43_201), "max_backoff is 43201; set seconds from 0 to 43200"),
        (lambda: QueueSettings(visibility=0), "visibility is 0; set a whole number from 1 to 43200"),
        (lambda: RelayOptions(batch_size=0), "RelayOptions: batch_size is 0; set a whole number"),
        (lambda: RelayOptions(max_batch_bytes=0), "max_batch_bytes is 0"),
        (lambda: RelayOptions(max_attempts=0), "max_attempts is 0"),
        (lambda: RelayOptions(publish_timeout=0), "publish_timeout is 0; set seconds of at least 0.001"),
        (lambda: RelayOptions(poll_interval=0), "poll_interval is 0"),
        (lambda: RelayOptions(max_backoff=math.nan), "max_backoff is nan"),
        (lambda: RetentionOptions(batch_size=0), "RetentionOptions: batch_size is 0"),
        (lambda: RetentionOptions(pause=-1), "pause is -1; set seconds of at least 0"),
        (lambda: RetentionOptions(interval=0), "interval is 0"),
        (lambda: RetentionOptions(max_backoff=math.inf), "max_backoff is inf"),
        (lambda: expiry(0), "Expiry: days is 0; set a whole number from 1 to 36500"),
        (lambda: expiry(1.5), "days is 1.5"),
        (lambda: loop(interval=0), "PollingLoop test: interval is 0; set seconds above 0"),
        (lambda: loop(max_backoff=math.nan), "max_backoff is nan"),
        (lambda: Faults(duplicate=2), "Faults: duplicate is 2; set a probability from 0 to 1"),
        (lambda: Faults(fail_call=math.nan), "fail_call is nan; set a probability"),
        (lambda: Faults(max_delay=-1), "max_delay is -1; set seconds of at least 0"),
        (lambda: leases(0), "LeaseKeeper: visibility is 0; set a whole number from 1 to 43200"),
        (lambda: leases(50_000), "visibility is 50000"),
    ],
)
def test_an_option_that_cannot_work_is_an_error(make: Callable[[], Any], reason: str) -> None:
    """It names option, value and range."""
    with pytest.raises(ValueError, match=reason) as raised:
        make()
    is_of_listener = "ListenerOptions" in str(raised.value) or "QueueSettings" in str(raised.value)
    assert isinstance(raised.value, ListenerMisconfigured) == is_of_listener


@pytest.mark.parametrize("connections", [0, 1, 2.5])
async def test_a_pool_that_cannot_work_is_an_error(connections: Any) -> None:
    """Of the clients and of the database, before anything is opened."""
    with pytest.raises(ValueError, match=f"connections is {connections}; set a whole number of at least 2"):
        async with aws_clients(region="us-east-1", connections=connections):
            pass
    if connections != 1:
        with pytest.raises(ValueError, match=f"connections is {connections}; set a whole number"):
            async with connect("postgresql://nobody", ApplicationEventPublisher(), connections=connections):
                pass


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"limit": 11}, "limit is 11; set 1 to 10"),
        ({"limit": 0}, "limit is 0"),
        ({"wait": 25}, "wait is 25; set 0 to 20"),
        ({"visibility": 43_201}, "visibility is 43201; set 0 to 43200"),
    ],
)
async def test_a_receive_call_that_sqs_rejects_is_an_error(values: dict[str, int], reason: str) -> None:
    """It is not sent."""
    async with serving_front() as (front, clients):
        queue = SqsQueue(clients.sqs, QUEUE, f"{front.url}/000000000000/{QUEUE}")
        with pytest.raises(ValueError, match=reason):
            await queue.receive(**values)
        assert not front.calls

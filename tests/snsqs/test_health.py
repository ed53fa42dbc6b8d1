"""Health and metrics of a listener."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from snsqs import Binding, ListenerContainer, ListenerHealth, QueueSettings, TopologyError, bindings
from snsqs.queues import ListenerQueues
from snsqs.testing import Faults, MemoryBroker, run_on_virtual_clock

from tests.serving import eventually
from tests.snsqs.engines import Engine, listening
from tests.snsqs.queues import QUEUE, TOPIC, Painted, listener, message


async def test_the_health_of_a_listener_follows_it(engine: Engine) -> None:
    """From listening with a message in process to stopped."""
    release = asyncio.Event()

    @listener
    async def handler(event: Painted) -> None:
        await release.wait()

    async def has(state: str, in_flight: int) -> bool:
        health = container.health
        return (health.state, health.in_flight) == (state, in_flight) and health.last_poll is not None

    started_at = datetime.now(UTC)
    async with listening(engine, handler, max_concurrency=1, poll_timeout=1) as bench:
        container = bench.listener
        await bench.publish(message(), message(subject="2"))
        await eventually(lambda: has("listening", 1))
        health = container.health
        assert (health.queue, health.reason) == (QUEUE, None)
        assert health.last_poll is not None
        assert started_at <= health.last_poll <= datetime.now(UTC)
        assert health.oldest_message_age is not None
        assert health.oldest_message_age < 60
        await asyncio.sleep(0.2)
        older = container.health.oldest_message_age
        assert older is not None
        assert older >= health.oldest_message_age + 0.2
        container.pause()
        assert (container.health.state, container.health.reason) == ("paused", "paused")
        container.resume()
        container.stop()
        assert container.health.state == "stopping"
        release.set()
    stopped = container.health
    assert (stopped.state, stopped.reason, stopped.in_flight, stopped.buffered) == ("stopped", None, 0, 0)
    assert stopped.oldest_message_age is None


def test_a_listener_is_degraded_while_its_queue_cannot_be_reached() -> None:
    """With the error as the reason; afterwards it listens."""

    @listener
    async def handler(event: Painted) -> None: ...

    async def scenario() -> tuple[ListenerHealth, ListenerHealth]:
        faults = Faults(fail_call=1)
        async with MemoryBroker(faults=faults) as broker:
            [container] = broker.listen(handler)
            await asyncio.sleep(1)
            degraded = container.health
            faults.fail_call = 0
            await asyncio.sleep(60)
            return degraded, container.health

    degraded, listening = run_on_virtual_clock(scenario())
    assert degraded.state == "degraded"
    assert degraded.reason == f"SQS: {QUEUE}: refused by a fault"
    assert degraded.last_poll is None
    assert (listening.state, listening.reason) == ("listening", None)


def test_the_age_of_messages_grows_with_the_virtual_clock() -> None:
    """Since the message was sent, not since it was received."""

    @listener
    async def handler(event: Painted) -> None:
        await asyncio.sleep(100)

    async def scenario() -> float | None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler)
            container.pause()
            await broker.topic(TOPIC).send([message()])
            await asyncio.sleep(1000)
            container.resume()
            await asyncio.sleep(50)
            age = container.health.oldest_message_age
            await broker.join()
            return age

    assert run_on_virtual_clock(scenario()) == pytest.approx(1050, abs=5)


def test_a_listener_that_ended_with_an_error_is_stopped_for_that_reason() -> None:
    """Before it ran it was starting."""

    class Missing:
        settings = QueueSettings()

        async def listener_queues(self, binding: Binding) -> ListenerQueues:
            raise TopologyError("no queue")

    @listener
    async def handler(event: Painted) -> None: ...

    async def scenario() -> None:
        container = ListenerContainer(Missing(), *bindings([handler]))
        assert container.health == ListenerHealth(QUEUE, "starting", "not connected yet", 0, 0, None, None)
        with pytest.raises(TopologyError):
            await container.run()
        assert (container.health.state, container.health.reason) == ("stopped", "TopologyError: no queue")

    run_on_virtual_clock(scenario())


METRICS = """
import asyncio, json
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from snsqs import Delivery, bindings
from snsqs.testing import Faults, MemoryBroker, run_on_virtual_clock
from tests.snsqs.queues import QUEUE, TOPIC, Painted, listener, message

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))

def values():
    return {
        metric.name: {**dict(point.attributes), "value": point.value}
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics for metric in scope.metrics for point in metric.data.data_points
    }

class Panic(BaseException): ...

@listener
async def handler(event: Painted, delivery: Delivery) -> None:
    if delivery.receive_count == 1:
        raise Panic("not yet")
    await asyncio.sleep(100)

async def main():
    faults = Faults()
    async with MemoryBroker(faults=faults) as broker:
        names = {QUEUE: f"arn:aws:sqs:us-east-1:111122223333:{QUEUE}"}
        broker.listen(*bindings([handler], rename=lambda name: names.get(name, name)))
        await broker.topic(TOPIC).send([message()])
        await asyncio.sleep(10)
        print(json.dumps(values()))
        faults.fail_call = 1
        await asyncio.sleep(60)
        print(json.dumps(values()))
        faults.fail_call = 0
        await broker.join()

run_on_virtual_clock(main())
"""


@pytest.mark.usefixtures("processes")
def test_a_listener_has_metrics() -> None:
    """Through the OpenTelemetry API, collected with its SDK. Their label is the name of a queue, here of one
    that is given by its ARN."""
    ended = subprocess.run([sys.executable, "-c", METRICS], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    running, lost = map(json.loads, ended.stdout.splitlines())
    assert running["messaging.client.consumed.messages"] == {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "receive",
        "messaging.destination.name": QUEUE,
        "value": 2,
    }
    assert running["messages_settled"] == {"queue": QUEUE, "outcome": "failed", "value": 1}
    assert running["messages_redelivered"] == {"queue": QUEUE, "value": 1}
    assert running["messages_in_flight"] == {"queue": QUEUE, "value": 1}
    assert "leases_lost" not in running
    assert lost["lease_extensions_failed"]["value"] > 1
    assert lost["queue_calls_failed"]["queue"] == QUEUE
    assert lost["queue_calls_failed"]["action"] in ("ReceiveMessage", "ChangeMessageVisibility")
    assert lost["queue_calls_failed"]["value"] > 1
    assert lost["leases_lost"] == {"queue": QUEUE, "value": 1}
    assert lost["messages_in_flight"] == {"queue": QUEUE, "value": 0}


def test_the_last_poll_is_recent_while_a_listener_is_idle() -> None:
    """Long polls return without messages."""

    @listener
    async def handler(event: Painted) -> None: ...

    async def scenario() -> datetime | None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler)
            assert container.health.last_poll is None
            await asyncio.sleep(60)
            return container.health.last_poll

    polled = run_on_virtual_clock(scenario())
    assert polled is not None
    assert datetime.now(UTC) - polled < timedelta(seconds=10)

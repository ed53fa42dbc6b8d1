"""Settings of queues: the same for topology, command, drift, listener and in-memory broker."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from snsqs import (
    AwsClients,
    Binding,
    Delivery,
    Lease,
    ListenerContainer,
    ListenerMisconfigured,
    ListenerOptions,
    QueueSettings,
    SqsChannel,
    Topology,
    TopologyError,
    bindings,
    sqs_listener,
)
from snsqs.testing import MemoryBroker, run_on_virtual_clock
from snsqs.topology.__main__ import main

from tests.serving import eventually
from tests.snsqs.engines import Engine
from tests.snsqs.queues import QUEUE, Handler, Painted, Sold, message
from tests.snsqs.test_topology import attributes_of, watched, written

SLOW = QueueSettings(
    visibility=600, max_receive_count=2, dead_letter_queue="slow-dead", retention=3_600, tags={"team": "x"}
)


def bound(settings: QueueSettings | None = None, queue: str = QUEUE) -> Binding:
    @sqs_listener(queue, settings=settings)
    async def handler(event: Painted) -> None: ...

    [binding] = bindings([handler])
    return binding


async def test_listeners_of_one_application_have_different_settings(engine: Engine) -> None:
    """Lease, receives before the dead letter, and dead-letter queue are those of the queue."""
    leases: dict[str, float] = {}
    counts: list[int] = []

    @sqs_listener("quick", settings=QueueSettings(visibility=20))
    @sqs_listener("slow", settings=SLOW)
    async def handler(event: Painted, delivery: Delivery, lease: Lease) -> None:
        leases[delivery.queue] = lease.deadline - asyncio.get_running_loop().time()
        if delivery.queue == "slow":
            counts.append(delivery.receive_count)
            raise RuntimeError("not today")

    quick, slow = bindings([handler])
    assert slow.dead_letter_queue == "slow-dead"
    async with engine.start(quick, (), QueueSettings(), ListenerOptions(), None) as bench:
        await bench.publish(message())
        await eventually(bench.is_empty)
    async with engine.start(slow, (), QueueSettings(), ListenerOptions(), None) as bench:
        await bench.publish(message())
        [letter] = await eventually(bench.dead_letters, within=30)
    assert letter.reason == "RuntimeError: not today"
    assert counts == [1, 2]
    assert 10 < leases["quick"] <= 20
    assert 590 < leases["slow"] <= 600


def hanging(settings: QueueSettings | None) -> Handler:
    """Return a handler that does not end by itself."""

    @sqs_listener(QUEUE, settings=settings)
    async def hang(event: Painted) -> None:
        await asyncio.Event().wait()

    return hang


@pytest.mark.virtual_clock
async def test_a_second_consumer_receives_after_the_visibility_timeout_only() -> None:
    """That of the queue's settings, which is longer than the default; the first consumer has crashed."""
    async with MemoryBroker() as broker:
        [container] = broker.listen(hanging(QueueSettings(visibility=600)))
        await broker.queue_channel(QUEUE).send([message()])
        await asyncio.sleep(1)
        assert container.in_flight == 1
        await broker.crash(container)
        queue = broker.queue(QUEUE)
        await asyncio.sleep(598)
        assert await queue.receive(limit=1, wait=0, visibility=30) == []
        await asyncio.sleep(2)
        assert len(await queue.receive(limit=1, wait=0, visibility=30)) == 1


@pytest.mark.parametrize("is_set", [True, False])
async def test_a_receive_call_has_the_visibility_timeout_of_the_queue(aws: AwsClients, is_set: bool) -> None:
    """Set by the application, or found; a second consumer receives nothing."""
    timeouts: list[int] = []

    def note(params: dict[str, Any], **_: object) -> None:
        timeouts.append(params["VisibilityTimeout"])

    settings = QueueSettings(visibility=600)
    queues = await Topology(aws, create=True, settings=settings).listener_queues(bound())
    [binding] = bindings([hanging(settings if is_set else None)])
    listener = ListenerContainer(
        Topology(aws, create=False), binding, options=ListenerOptions(shutdown_timeout=0)
    )
    with watched(aws, "before-parameter-build.sqs.ReceiveMessage", note):
        running = asyncio.create_task(listener.run())
        await SqsChannel(aws.sqs, QUEUE).send([message()])

        async def is_handling() -> bool:
            return listener.in_flight == 1

        await eventually(is_handling)
        assert set(timeouts) == {600}
    assert await queues.queue.receive(limit=1, wait=1, visibility=30) == []
    listener.stop()
    await running


async def test_a_setting_that_is_not_set_leaves_the_queue_as_it_is(aws: AwsClients) -> None:
    """In development and production, and the listener uses the queue's values."""
    theirs = (await aws.sqs.create_queue(QueueName="theirs"))["QueueUrl"]
    arn = (await aws.sqs.get_queue_attributes(QueueUrl=theirs, AttributeNames=["QueueArn"]))["Attributes"]
    redrive = json.dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 9})
    await aws.sqs.create_queue(
        QueueName=QUEUE,
        Attributes={"VisibilityTimeout": "600", "MessageRetentionPeriod": "120", "RedrivePolicy": redrive},
    )
    for create in (True, False):
        topology = Topology(aws, create=create)
        with written(aws) as calls:
            assert await topology.drift(bound()) == []
            found = await topology.listener_queues(bound())
        assert calls == []
        assert (found.visibility, found.max_receive_count, found.dead_letters.name) == (600, 9, "theirs")
    # One setting alone is corrected alone.
    await Topology(aws, create=True).listener_queues(bound(QueueSettings(max_receive_count=3)))
    attributes = await attributes_of(aws, QUEUE)
    assert (attributes["VisibilityTimeout"], attributes["MessageRetentionPeriod"]) == ("600", "120")
    policy = json.loads(attributes["RedrivePolicy"])
    assert (policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])) == (arn["QueueArn"], 3)


@pytest.mark.virtual_clock
async def test_a_setting_that_is_not_set_leaves_a_queue_in_memory_as_it_is(
    memory_broker: MemoryBroker,
) -> None:
    """For example that of another application, or of an earlier listener of the test."""
    theirs = QueueSettings(
        visibility=600, max_receive_count=9, dead_letter_queue="theirs", retention=6_000, tags={"team": "x"}
    )
    memory_broker.subscribe(bound(theirs))
    leases: list[float] = []

    @sqs_listener(QUEUE, settings=QueueSettings(max_receive_count=2))
    async def handler(event: Painted, lease: Lease) -> None:
        leases.append(lease.deadline - asyncio.get_running_loop().time())
        raise RuntimeError("not today")

    [binding] = bindings([handler])
    memory_broker.listen(binding)
    await memory_broker.queue_channel(QUEUE).send([message()])
    await memory_broker.join(raise_errors=False)
    assert leases == [600, 600]
    assert len(memory_broker.queue("theirs").messages) == 1
    assert memory_broker.queue(QUEUE).retention == 6_000
    assert memory_broker.settings_of(bound()) == replace(theirs, max_receive_count=2)


async def test_a_setting_that_differs_is_drift_and_in_production_an_error(aws: AwsClients) -> None:
    """The sentence has queue, setting and both values; development corrects it."""
    binding, production = bound(SLOW), Topology(aws, create=False)
    await Topology(aws, create=True).listener_queues(bound())
    await Topology(aws, create=True).listener_queues(bound(QueueSettings(dead_letter_queue="slow-dead")))
    expected = [
        "VisibilityTimeout is 30 s, not 600 s",
        "MessageRetentionPeriod is 345600 s, not 3600 s",
        "redrive policy has maxReceiveCount 5, not 2",
        "tag team is not set, not x",
        "dead-letter queue slow-dead: tag team is not set, not x",
    ]
    assert await production.drift(binding) == expected
    with pytest.raises(TopologyError, match=f"queue {QUEUE} differs from its settings") as raised:
        await production.listener_queues(binding)
    assert all(sentence in str(raised.value) for sentence in expected)
    await Topology(aws, create=True).listener_queues(binding)
    assert await production.drift(binding) == []
    assert (await production.listener_queues(binding)).visibility == 600


async def test_both_queues_are_created_with_key_and_tags(aws: AwsClients) -> None:
    """They hold the same messages."""
    settings = QueueSettings(kms_key="alias/orders", tags={"team": "billing"})
    topology = Topology(aws, create=True, settings=settings)
    queues = await topology.listener_queues(bound())
    for queue in (queues.queue, queues.dead_letters):
        assert (await attributes_of(aws, queue.name))["KmsMasterKeyId"] == "alias/orders"
        url = (await aws.sqs.get_queue_url(QueueName=queue.name))["QueueUrl"]
        assert (await aws.sqs.list_queue_tags(QueueUrl=url))["Tags"] == {"team": "billing"}
    assert await topology.drift(bound()) == []


def test_a_message_expires_after_the_retention_of_its_queue() -> None:
    """In memory as on SQS."""
    handled: list[str] = []

    @sqs_listener(QUEUE, settings=QueueSettings(retention=3_600))
    async def handler(event: Painted) -> None:
        handled.append(event.source.id)

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(handler)
            container.pause()
            await asyncio.sleep(1)
            for subject, pause in (("1", 3_000), ("2", 1_000)):
                await broker.queue_channel(QUEUE).send([message(subject=subject)])
                await asyncio.sleep(pause)
            container.resume()
            await broker.join()

    run_on_virtual_clock(scenario())
    assert handled == ["2"]


def test_settings_by_queue_take_precedence() -> None:
    """Over those of the decorator; what they leave open is the decorator's."""
    [binding] = bindings([slow_handler], settings={"slow": QueueSettings(visibility=900)})
    assert binding.settings == replace(SLOW, visibility=900)
    with pytest.raises(ListenerMisconfigured, match=r"settings name sloow.*; the queues are slow"):
        bindings([slow_handler], settings={"sloow": SLOW})


@pytest.mark.virtual_clock
async def test_options_are_those_of_the_queue(memory_broker: MemoryBroker) -> None:
    """Of the decorator, replaced by those of `bindings`, replaced by those of the call that listens."""
    declared = ListenerOptions(max_concurrency=1)

    @sqs_listener(["first", "second", "third"], options=declared)
    async def handler(event: Painted) -> None:
        await asyncio.sleep(10)

    bound = bindings([handler], options={"second": ListenerOptions(max_concurrency=2)})
    assert [each.options for each in bound] == [declared, ListenerOptions(max_concurrency=2), declared]
    listeners = memory_broker.listen(*bound[:2])
    listeners += memory_broker.listen(bound[2], options=ListenerOptions(max_concurrency=3))
    for each in bound:
        await memory_broker.queue_channel(each.queue).send([message() for _ in range(5)])
    await asyncio.sleep(1)
    assert [each.in_flight for each in listeners] == [1, 2, 3]
    await memory_broker.join()


def test_options_that_do_not_fit_are_errors_at_the_declaration() -> None:
    """Different options of one queue, of a queue without handlers, or for other handlers."""

    @sqs_listener("slow", options=ListenerOptions(max_concurrency=2))
    async def one(event: Painted) -> None: ...

    @sqs_listener("slow", options=ListenerOptions(max_concurrency=3))
    async def other(event: Sold) -> None: ...

    with pytest.raises(ListenerMisconfigured, match="slow: its handlers have different options"):
        bindings([one, other])
    with pytest.raises(ListenerMisconfigured, match=r"options name sloow.*; the queues are slow"):
        bindings([one], options={"sloow": ListenerOptions()})
    with pytest.raises(ListenerMisconfigured, match="default_type='Sold' has no handler"):
        bindings([one], options={"slow": ListenerOptions(default_type="Sold")})


@sqs_listener("slow", settings=SLOW)
async def slow_handler(event: Painted) -> None: ...


BINDINGS = bindings([slow_handler], settings={"slow": QueueSettings(visibility=900)})


def test_the_command_uses_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Of decorators, or of bindings that are named instead of functions."""
    assert main(["show", "--json", f"{__name__}:BINDINGS"]) == 0
    [shown] = json.loads(capsys.readouterr().out)
    assert shown["queue"]["attributes"]["VisibilityTimeout"] == "900"
    assert shown["queue"]["attributes"]["RedrivePolicy"]["maxReceiveCount"] == 2
    assert shown["deadLetterQueue"]["name"] == "slow-dead"
    assert shown["tags"] == {"team": "x"}


def test_different_settings_of_one_queue_are_found_at_start() -> None:
    """ListenerMisconfigured names the queue and both."""

    @sqs_listener("slow", settings=QueueSettings(visibility=10))
    async def other(event: Sold) -> None: ...

    with pytest.raises(ListenerMisconfigured, match="slow: its handlers have different settings"):
        bindings([slow_handler, other])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: QueueSettings(visibility=0), "visibility is 0; set a whole number from 1 to 43200"),
        (lambda: QueueSettings(visibility=1.5), "visibility is 1.5; set a whole number"),  # type: ignore[arg-type]
        (lambda: QueueSettings(max_receive_count=1_001), "max_receive_count is 1001"),
        (lambda: QueueSettings(retention=59), "retention is 59; set a whole number from 60 to 1209600"),
        (lambda: QueueSettings(dead_letter_retention=True), "dead_letter_retention is True"),
        (lambda: QueueSettings(dead_letter_queue=""), "dead_letter_queue is ''; set a name"),
        (lambda: QueueSettings(kms_key=" "), "kms_key is ' '"),
        (lambda: QueueSettings(tags={"aws:x": "1"}), "the key 'aws:x'"),
        (lambda: QueueSettings(tags={"x": "1" * 257}), "at most 256 characters"),
        (lambda: QueueSettings(tags={str(n): "" for n in range(51)}), "at most 50 tags"),
    ],
)
def test_values_that_sqs_rejects_are_errors(make: Callable[[], Any], reason: str) -> None:
    """With parameter, value and remedy."""
    with pytest.raises(ListenerMisconfigured, match="QueueSettings: ") as raised:
        make()
    assert reason in str(raised.value)

"""Queues of a listener: work queues, several topics, several queues. One suite for every engine."""

import json

import pytest
from snsqs import (
    AwsClients,
    Binding,
    Delivery,
    ListenerOptions,
    QueueSettings,
    TerminalError,
    Topology,
    TopologyError,
    bindings,
    sqs_listener,
)
from snsqs.topology.__main__ import main

from tests.serving import eventually
from tests.snsqs.engines import Engine, listening
from tests.snsqs.queues import QUEUE, Painted, Sold, message
from tests.snsqs.test_topology import attributes_of, subscriptions, written

ORDERS, SCM = "order-events", "scm-events"


async def test_a_queue_without_a_topic_is_a_work_queue(engine: Engine) -> None:
    """Messages are sent to the queue; one that fails is dead-lettered with its reason, as on any queue."""
    handled: list[str] = []

    @sqs_listener(QUEUE)
    async def handler(event: Painted) -> None:
        if event.source.id == "7":
            raise TerminalError("seven is bad")
        handled.append(event.source.id)

    async with listening(engine, handler) as bench:
        await bench.publish(message(subject="1"), message(subject="7"), message(subject="2"))
        [letter] = await eventually(bench.dead_letters)
        await eventually(bench.is_empty)
    assert sorted(handled) == ["1", "2"]
    assert letter.reason == "TerminalError: seven is bad"


async def test_a_fifo_work_queue_is_handled_in_order(engine: Engine) -> None:
    """The subject of a message is its group, as on a topic."""
    handled: list[int] = []

    @sqs_listener("work.fifo")
    async def handler(event: Painted) -> None:
        handled.append(event.source.version)

    async with listening(engine, handler) as bench:
        await bench.publish(*(message(subject="a", version=version) for version in range(5)))
        await eventually(bench.is_empty)
    assert handled == list(range(5))


async def test_a_queue_may_have_several_topics(engine: Engine) -> None:
    """Each subscription has the types of the handlers that name its topic."""
    handled: list[tuple[str, str]] = []

    @sqs_listener(QUEUE, topic=ORDERS)
    async def on_painted(event: Painted) -> None:
        handled.append(("Painted", event.source.id))

    @sqs_listener(QUEUE, topic=(ORDERS, SCM))
    async def on_sold(event: Sold) -> None:
        handled.append(("Sold", event.source.id))

    async with listening(engine, on_painted, on_sold) as bench:
        await bench.publish(message("Painted", "1"), message("Sold", "2"), topic=ORDERS)
        await bench.publish(message("Painted", "3"), message("Sold", "4"), topic=SCM)
        await eventually(bench.is_empty)
    assert sorted(handled) == [("Painted", "1"), ("Sold", "2"), ("Sold", "4")]


@sqs_listener("first", topic=ORDERS)
@sqs_listener(["second", "third"], topic=SCM)
async def everywhere(event: Painted, delivery: Delivery) -> None:
    received.append((delivery.queue, event.source.id))


received: list[tuple[str, str]] = []


async def test_a_handler_may_have_several_queues(engine: Engine) -> None:
    """By a list of queues, or by repeated decorators where the topics differ."""
    received.clear()
    for binding, topic in zip(bindings([everywhere]), (ORDERS, SCM, SCM), strict=True):
        assert list(binding.topics) == [topic]
        async with engine.start(binding, (), QueueSettings(), ListenerOptions(), None) as bench:
            await bench.publish(message(subject=binding.queue))
            await eventually(bench.is_empty)
    assert received == [(name, name) for name in ("first", "second", "third")]


@sqs_listener(QUEUE)
async def work(event: Painted | Sold) -> None: ...


@sqs_listener(QUEUE, topic=(ORDERS, SCM))
async def on_several(event: Painted) -> None: ...


@sqs_listener(QUEUE, topic=SCM)
async def on_one(event: Sold) -> None: ...


WORK, SEVERAL = [work], [on_several, on_one]


def binding_of(*handlers: object) -> Binding:
    [binding] = bindings(handlers)  # type: ignore[arg-type]
    return binding


async def test_a_work_queue_needs_neither_topic_nor_policy(aws: AwsClients) -> None:
    """Its own account may send to it; a policy that someone else gives it is no drift."""
    binding, topology = binding_of(work), Topology(aws, create=True)
    assert await topology.drift(binding) == [
        "the queue is missing",
        f"dead-letter queue {QUEUE}-dlq is missing",
    ]
    await topology.listener_queues(binding)
    assert (await aws.sns.list_topics())["Topics"] == []
    assert "Policy" not in await attributes_of(aws, QUEUE)
    with written(aws) as calls:
        assert await Topology(aws, create=False).drift(binding) == []
        await topology.listener_queues(binding)
    assert calls == []
    assert (await topology.queue_url(QUEUE)).endswith(f"/{QUEUE}")
    with pytest.raises(TopologyError, match="the queue other does not exist"):
        await topology.queue_url("other")


async def test_the_policy_admits_every_topic_of_a_queue(aws: AwsClients) -> None:
    """And a subscription that differs is reported with its topic."""
    binding, topology = binding_of(*SEVERAL), Topology(aws, create=True)
    assert f"subscription to {SCM} is missing" in await topology.drift(binding)
    await topology.listener_queues(binding)
    statements = json.loads((await attributes_of(aws, QUEUE))["Policy"])["Statement"]
    admitted = [each["Condition"]["ArnEquals"]["aws:SourceArn"].rpartition(":")[2] for each in statements]
    assert admitted == [ORDERS, SCM]
    filters = {
        each["TopicArn"].rpartition(":")[2]: json.loads(each["FilterPolicy"])["ce-type"]
        for each in await subscriptions(aws)
    }
    assert filters == {ORDERS: ["Painted"], SCM: ["Painted", "Sold"]}
    assert await topology.drift(binding) == []
    [scm] = [each for each in await subscriptions(aws) if each["TopicArn"].endswith(SCM)]
    await aws.sns.set_subscription_attributes(
        SubscriptionArn=scm["SubscriptionArn"],
        AttributeName="FilterPolicy",
        AttributeValue='{"ce-type": ["Painted"]}',
    )
    assert await topology.drift(binding) == [f"subscription to {SCM}: filter policy lacks Sold"]
    await topology.listener_queues(binding)
    assert await topology.drift(binding) == []


def test_the_command_shows_all_topics(capsys: pytest.CaptureFixture[str]) -> None:
    """None for a work queue."""
    assert main(["show", "--json", f"{__name__}:WORK"]) == 0
    [shown] = json.loads(capsys.readouterr().out)
    assert (shown["topics"], shown["subscriptions"]) == ([], [])
    assert "Policy" not in shown["queue"]["attributes"]
    assert main(["show", "--json", f"{__name__}:SEVERAL"]) == 0
    [shown] = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in shown["topics"]] == [ORDERS, SCM]
    assert [each["attributes"]["FilterPolicy"]["ce-type"] for each in shown["subscriptions"]] == [
        ["Painted"],
        ["Painted", "Sold"],
    ]

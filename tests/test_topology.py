"""The topology, on a real SNS/SQS server: derived from the handlers, made idempotently."""

import asyncio
import json

import pytest

from shared.messaging import (
    AwsClients,
    Binding,
    QueueSettings,
    Topology,
    TopologyError,
    bindings,
    sqs_listener,
)
from tests.queues import QUEUE, TOPIC, Painted, Sold

listener = sqs_listener(QUEUE, topic=TOPIC)


@listener
async def on_painted(event: Painted) -> None: ...


@listener
async def on_sold(event: Sold) -> None: ...


def binding(*handlers: object) -> Binding:
    [one] = bindings(handlers or (on_painted, on_sold))  # type: ignore[arg-type]
    return one


async def attributes_of(aws: AwsClients, queue: str) -> dict[str, str]:
    url = (await aws.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
    answer = await aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    return {str(name): value for name, value in answer["Attributes"].items()}


async def subscriptions(aws: AwsClients) -> list[dict[str, str]]:
    found = (await aws.sns.list_subscriptions())["Subscriptions"]
    return [
        (await aws.sns.get_subscription_attributes(SubscriptionArn=each["SubscriptionArn"]))["Attributes"]
        for each in found
    ]


async def test_everything_that_the_handlers_need_is_made(aws: AwsClients) -> None:
    """Queue, dead-letter queue, redrive policy, a policy for the topic only, raw delivery, a filter."""
    await Topology(aws, create=True, settings=QueueSettings(max_receive_count=3)).listener_queues(binding())
    queue, dead_letters = await attributes_of(aws, QUEUE), await attributes_of(aws, f"{QUEUE}-dlq")
    redrive = json.loads(queue["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead_letters["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == 3
    [statement] = json.loads(queue["Policy"])["Statement"]
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Resource"] == queue["QueueArn"]
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(f":{TOPIC}")
    [subscription] = await subscriptions(aws)
    assert subscription["RawMessageDelivery"] == "true"
    assert json.loads(subscription["FilterPolicy"]) == {"ce-type": ["Painted", "Sold"]}


async def test_making_it_again_changes_nothing(aws: AwsClients) -> None:
    """Services are started more than once, and several at the same time."""
    topology = Topology(aws, create=True)
    await asyncio.gather(*(topology.listener_queues(binding()) for _ in range(8)))
    before = await attributes_of(aws, QUEUE)
    await topology.listener_queues(binding())
    assert len(await subscriptions(aws)) == 1
    assert {**await attributes_of(aws, QUEUE), "LastModifiedTimestamp": ""} == {
        **before,
        "LastModifiedTimestamp": "",
    }


async def test_the_filter_follows_the_handlers(aws: AwsClients) -> None:
    """A handler more, or one fewer, and the subscription is brought to it at the next start."""
    topology = Topology(aws, create=True)
    await topology.listener_queues(binding(on_painted))
    await topology.listener_queues(binding(on_painted, on_sold))
    [subscription] = await subscriptions(aws)
    assert json.loads(subscription["FilterPolicy"]) == {"ce-type": ["Painted", "Sold"]}


async def test_in_production_a_missing_queue_or_topic_is_named(aws: AwsClients) -> None:
    """And nothing is made: infrastructure has its own tools there."""
    topology = Topology(aws, create=False)
    with pytest.raises(TopologyError, match=rf"topic {TOPIC} does not exist"):
        await topology.topic_arn(TOPIC)
    with pytest.raises(TopologyError, match=rf"queue {QUEUE} does not exist"):
        await topology.listener_queues(binding())
    await aws.sqs.create_queue(QueueName=QUEUE)
    with pytest.raises(TopologyError, match=rf"queue {QUEUE}-dlq does not exist"):
        await topology.listener_queues(binding())
    assert (await aws.sns.list_topics())["Topics"] == []


async def test_in_production_what_exists_is_found(aws: AwsClients) -> None:
    """By name, or a topic by its ARN."""
    made = await Topology(aws, create=True).listener_queues(binding())
    topology = Topology(aws, create=False)
    assert (await topology.listener_queues(binding())).queue.name == made.queue.name
    arn = await topology.topic_arn(TOPIC)
    assert await topology.topic_arn(arn) == arn
    with pytest.raises(TopologyError, match="does not exist"):
        await topology.topic_arn(f"{arn}-other")

"""Topology on an SNS/SQS server: derived from the handlers, created idempotently."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from snsqs import (
    AwsClients,
    Binding,
    QueueSettings,
    Topology,
    TopologyError,
    aws_clients,
    bindings,
    sqs_listener,
)
from snsqs.topology.__main__ import apply_binding

from tests.conftest import REGION
from tests.snsqs.queues import QUEUE, TOPIC, Painted, Sold

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


@contextmanager
def watched(aws: AwsClients, event: str, watcher: Callable[..., Any]) -> Iterator[None]:
    """Call the watcher for each API call, through botocore's events. The result of a `before-call` watcher is
    the call's response, which tests responses of AWS that the local server never gives."""
    for client in (aws.sns, aws.sqs):
        client.meta.events.register(event, watcher)
    try:
        yield
    finally:
        for client in (aws.sns, aws.sqs):
            client.meta.events.unregister(event, watcher)


@contextmanager
def written(aws: AwsClients) -> Iterator[list[str]]:
    """Yield the names of write calls."""
    calls: list[str] = []

    def note(model: Any, **_: object) -> None:
        if not model.name.startswith(("Get", "List")):
            calls.append(model.name)

    with watched(aws, "before-call", note):
        yield calls


def refusal(code: str) -> tuple[AWSResponse, dict[str, object]]:
    """An error response, as the SDK parses it."""
    return AWSResponse("", 400, HTTPHeaders(), None), {"Error": {"Code": code, "Message": "refused"}}


async def test_all_required_resources_are_created(aws: AwsClients) -> None:
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


async def test_creating_again_writes_nothing(aws: AwsClients) -> None:
    """Services start often, and AWS throttles writes."""
    topology = Topology(aws, create=True)
    first = await topology.listener_queues(binding())
    with written(aws) as calls:
        again = await topology.listener_queues(binding())
    assert calls == []
    assert (again.queue.name, again.dead_letters.name) == (first.queue.name, first.dead_letters.name)


async def test_several_instances_may_create_at_once(aws: AwsClients) -> None:
    """The instances of a service start together."""
    topology = Topology(aws, create=True)
    await asyncio.gather(*(topology.listener_queues(binding()) for _ in range(8)))
    assert len(await subscriptions(aws)) == 1
    assert await topology.drift(binding()) == []


@pytest.mark.parametrize("answer", [None, refusal("InvalidParameter")], ids=["local server", "AWS"])
async def test_resources_that_another_process_creates_meanwhile_are_corrected(
    aws: AwsClients, aws_url: str, answer: object
) -> None:
    """An older version of the service may start at the same moment. AWS rejects the creation of a resource
    that exists with other attributes; the local server ignores that of a subscription."""
    topology = Topology(aws, create=True)
    async with aws_clients(region=REGION, endpoint_url=aws_url) as other:

        async def make_queue(params: dict[str, Any], **_: object) -> None:
            if f'"{QUEUE}"' in str(params["body"]):
                await other.sqs.create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": "1"})

        async def subscribe(**_: object) -> object:
            older = Topology(other, create=True)
            await older.listener_queues(binding(on_painted))
            return answer

        with (
            watched(aws, "before-call.sqs.CreateQueue", make_queue),
            watched(aws, "before-call.sns.Subscribe", subscribe),
        ):
            await topology.listener_queues(binding())
    assert await topology.drift(binding()) == []
    assert len(await subscriptions(aws)) == 1


async def test_a_rejected_subscription_is_an_error(aws: AwsClients) -> None:
    """SNS has one error code for existing and for invalid subscriptions."""
    with (
        watched(aws, "before-call.sns.Subscribe", lambda **_: refusal("InvalidParameter")),
        pytest.raises(ClientError, match="InvalidParameter"),
    ):
        await Topology(aws, create=True).listener_queues(binding())


async def test_the_command_waits_for_the_name_of_a_deleted_queue(aws: AwsClients) -> None:
    """AWS reserves it for 60 s. A service starts without the queue and retries."""
    topology, refusals = Topology(aws, create=True), iter(["QueueDeletedRecently"] * 2)

    def refuse(**_: object) -> object:
        code = next(refusals, None)
        return refusal(f"AWS.SimpleQueueService.{code}") if code else None

    with watched(aws, "before-call.sqs.CreateQueue", refuse):
        with pytest.raises(ClientError, match="QueueDeletedRecently"):
            await topology.listener_queues(binding())
        await apply_binding(topology, binding())
    assert await topology.drift(binding()) == []


async def test_the_filter_follows_the_handlers(aws: AwsClients) -> None:
    """A handler that is added or removed changes the subscription at the next start."""
    topology = Topology(aws, create=True)
    await topology.listener_queues(binding(on_painted))
    await topology.listener_queues(binding(on_painted, on_sold))
    [subscription] = await subscriptions(aws)
    assert json.loads(subscription["FilterPolicy"]) == {"ce-type": ["Painted", "Sold"]}


async def test_names_that_end_in_fifo_create_fifo_resources(aws: AwsClients) -> None:
    """AWS requires the attribute when queues and topic are created."""
    fifo = Binding("tests.fifo", {"tests.fifo": ["Painted", "Sold"]}, binding().handlers)
    asked: dict[str, dict[str, str]] = {}

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        asked[f"{model.name} {params.get('QueueName', params.get('Name'))}"] = params["Attributes"]

    with (
        watched(aws, "before-parameter-build.sqs.CreateQueue", note),
        watched(aws, "before-parameter-build.sns.CreateTopic", note),
    ):
        await Topology(aws, create=True).listener_queues(fifo)
    assert asked["CreateQueue tests.fifo"]["FifoQueue"] == "true"
    assert asked["CreateTopic tests.fifo"] == {"FifoTopic": "true"}
    dead_letters = asked[f"CreateQueue {fifo.dead_letter_queue}"]
    assert ("FifoQueue" in dead_letters) == fifo.dead_letter_queue.endswith(".fifo")
    assert (await attributes_of(aws, "tests.fifo"))["ContentBasedDeduplication"] == "false"
    with written(aws) as calls:
        await Topology(aws, create=True).listener_queues(fifo)
    assert calls == []


@pytest.mark.skipif(
    "SNS_SQS_URL" in os.environ, reason="LocalStack lists only an account's own subscriptions"
)
async def test_another_account_may_own_the_topic(
    aws: AwsClients, aws_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handlers name the topic by its ARN; the queues of this account allow it to send."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "111122223333")
    async with aws_clients(region=REGION, endpoint_url=aws_url) as owner:
        topic_arn = (await owner.sns.create_topic(Name=TOPIC))["TopicArn"]
    topology = Topology(aws, create=True)
    theirs = Binding(QUEUE, {topic_arn: ["Painted", "Sold"]}, binding().handlers)
    await topology.listener_queues(theirs)
    queue = await attributes_of(aws, QUEUE)
    [statement] = json.loads(queue["Policy"])["Statement"]
    assert statement["Resource"] == queue["QueueArn"]
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"] == topic_arn
    assert ":111122223333:" in topic_arn
    assert ":111122223333:" not in queue["QueueArn"] + queue["RedrivePolicy"]
    assert await topology.drift(theirs) == []


async def test_resources_on_later_pages_are_found(aws: AwsClients) -> None:
    """A page of SNS has 100; the local server pages topics, but not the subscriptions of a topic."""
    await asyncio.gather(*(aws.sns.create_topic(Name=f"other-{number}") for number in range(100)))
    topology = Topology(aws, create=True)
    await topology.listener_queues(binding())

    def only_the_second_page(parsed: dict[str, Any], **_: object) -> None:
        if not pages:
            parsed["Subscriptions"], parsed["NextToken"] = [], "2"
        pages.append(parsed)

    pages: list[object] = []
    with (
        watched(aws, "after-call.sns.ListSubscriptionsByTopic", only_the_second_page),
        written(aws) as calls,
    ):
        await topology.listener_queues(binding())
    assert calls == []
    assert len(pages) == 2


@pytest.mark.parametrize("word", ["Deleted", "PendingConfirmation"])
async def test_a_deleted_or_unconfirmed_subscription_counts_as_missing(aws: AwsClients, word: str) -> None:
    """SNS lists a deleted one for days, with a word in place of its ARN."""
    await Topology(aws, create=True).listener_queues(binding())

    def end_it(parsed: dict[str, Any], **_: object) -> None:
        parsed["Subscriptions"][0]["SubscriptionArn"] = word

    with (
        watched(aws, "after-call.sns.ListSubscriptionsByTopic", end_it),
        watched(aws, "before-call.sns.GetSubscriptionAttributes", lambda **_: refusal("InvalidParameter")),
    ):
        assert await Topology(aws, create=False).drift(binding()) == [f"subscription to {TOPIC} is missing"]


async def test_in_production_a_missing_queue_or_topic_is_named(aws: AwsClients) -> None:
    """And nothing is created: infrastructure has its own tools there."""
    topology = Topology(aws, create=False)
    with pytest.raises(TopologyError, match=rf"topic {TOPIC} does not exist"):
        await topology.topic_arn(TOPIC)
    with pytest.raises(TopologyError, match=rf"queue {QUEUE} does not exist"):
        await topology.listener_queues(binding())
    await aws.sqs.create_queue(QueueName=QUEUE)
    with pytest.raises(TopologyError, match=rf"queue {QUEUE}-dlq does not exist"):
        await topology.listener_queues(binding())
    assert (await aws.sns.list_topics())["Topics"] == []


async def test_in_production_existing_resources_are_found(aws: AwsClients) -> None:
    """By name, or a topic by its ARN."""
    made = await Topology(aws, create=True).listener_queues(binding())
    topology = Topology(aws, create=False)
    assert (await topology.listener_queues(binding())).queue.name == made.queue.name
    arn = await topology.topic_arn(TOPIC)
    assert await topology.topic_arn(arn) == arn
    with pytest.raises(TopologyError, match="does not exist"):
        await topology.topic_arn(f"{arn}-other")

"""Queues and topics by name, URL or ARN, also of another account or region: listener, topology and drift."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from snsqs import (
    AwsClients,
    Binding,
    ListenerContainer,
    MessageChannel,
    QueueSettings,
    SnsChannel,
    SqsChannel,
    TerminalError,
    Topology,
    TopologyError,
    aws_clients,
    bindings,
    sqs_listener,
)
from snsqs.testing import MemoryBroker, run_on_virtual_clock
from snsqs.topology.__main__ import main

from tests.conftest import REGION
from tests.serving import eventually
from tests.snsqs.queues import QUEUE, TOPIC, Painted, message
from tests.snsqs.test_topology import attributes_of, refusal, watched, written

OTHER_REGION = "eu-west-1"
OTHER_ACCOUNT = "111122223333"
QUEUE_ARN = f"arn:aws:sqs:{REGION}:{OTHER_ACCOUNT}:{QUEUE}"
TOPIC_ARN = f"arn:aws:sns:{OTHER_REGION}:{OTHER_ACCOUNT}:{TOPIC}"
ADDRESSES = [QUEUE, QUEUE_ARN, f"https://sqs.{REGION}.amazonaws.com/{OTHER_ACCOUNT}/{QUEUE}"]

handled: list[str] = []


def bound(queue: str, *topics: str, settings: QueueSettings | None = None) -> Binding:
    @sqs_listener(queue, topic=topics or None, settings=settings)
    async def handler(event: Painted) -> None:
        if event.source.id == "bad":
            raise TerminalError("bad")
        handled.append(event.source.id)

    [binding] = bindings([handler])
    return binding


async def arn_of(aws: AwsClients, queue: str) -> str:
    return (await attributes_of(aws, queue))["QueueArn"]


async def emptied(clients: AwsClients) -> None:
    for url in (await clients.sqs.list_queues()).get("QueueUrls", []):
        await clients.sqs.delete_queue(QueueUrl=url)
    for topic in (await clients.sns.list_topics())["Topics"]:
        await clients.sns.delete_topic(TopicArn=topic["TopicArn"])


@pytest.fixture
async def elsewhere(aws: AwsClients) -> AsyncIterator[AwsClients]:
    """The clients of another region, without topics and queues."""
    clients = await aws.in_region(OTHER_REGION)
    await emptied(clients)
    yield clients
    await emptied(clients)


@pytest.fixture
async def theirs(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwsClients]:
    """The clients of another account, without topics and queues."""
    with monkeypatch.context() as context:
        context.setenv("AWS_ACCESS_KEY_ID", OTHER_ACCOUNT)
        async with aws_clients(region=REGION, endpoint_url=aws_url) as clients:
            await emptied(clients)
            context.undo()
            yield clients
            await emptied(clients)


@asynccontextmanager
async def running(topology: Topology, binding: Binding) -> AsyncIterator[ListenerContainer]:
    handled.clear()
    listener = ListenerContainer(topology, binding)
    await listener.prepare()
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        listener.stop()
        await task


async def delivered(channel: MessageChannel) -> None:
    """Send a message, and wait until it is handled."""
    await channel.send([message(subject="1")])

    async def is_handled() -> bool:
        return handled == ["1"]

    await eventually(is_handled)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("topic", [TOPIC, TOPIC_ARN])
def test_in_memory_all_addresses_are_equal(address: str, topic: str) -> None:
    """Of listener, channel and assertions; the label of health, outcomes and dead letters is the name."""
    handled.clear()

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            [container] = broker.listen(bound(address, topic))
            await broker.topic(TOPIC).send([message(subject="1")])
            await broker.queue_channel(QUEUE_ARN).send([message(subject="2"), message(subject="bad")])
            await broker.join(raise_errors=False)
            assert container.health.queue == QUEUE
            assert {each.queue for each in broker.outcomes} == {QUEUE}
            assert len(broker.handled(Painted, queue=address)) == 2
            [letter] = broker.dead_letters(queue=address)
            assert letter.queue == QUEUE
            assert broker.queue(address) is broker.queue(QUEUE)

    run_on_virtual_clock(scenario())
    assert handled == ["1", "2"]


def test_in_memory_topics_of_one_name_are_one_topic() -> None:
    """The queue receives the types of both once."""
    handled.clear()

    async def scenario() -> None:
        async with MemoryBroker() as broker:
            broker.listen(bound(QUEUE, TOPIC, TOPIC_ARN))
            await broker.publish(message(subject="1"))
            await broker.join()

    run_on_virtual_clock(scenario())
    assert handled == ["1"]


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("form", ["arn", "url"])
async def test_a_listener_finds_its_queue_by_arn_or_url(aws: AwsClients, create: bool, form: str) -> None:
    """It is this account's, so that development corrects it as any other: here its visibility timeout."""
    queues = await Topology(aws, create=True).listener_queues(bound(QUEUE, TOPIC))
    address = {
        "arn": await arn_of(aws, QUEUE),
        "url": (await aws.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"],
    }[form]
    binding = bound(address, TOPIC, settings=QueueSettings(visibility=60) if create else None)
    topology = Topology(aws, create=create)
    assert await topology.drift(binding) == (["VisibilityTimeout is 30 s, not 60 s"] if create else [])
    async with running(topology, binding) as listener:
        await delivered(SnsChannel(aws.sns, topology, TOPIC))
        assert (listener.binding.queue, listener.health.queue) == (queues.queue.name, QUEUE)
    assert await topology.drift(binding) == []
    assert (await attributes_of(aws, QUEUE))["VisibilityTimeout"] == ("60" if create else "30")


@pytest.mark.parametrize("create", [True, False])
async def test_a_queue_that_is_given_by_its_arn_is_not_created(aws: AwsClients, create: bool) -> None:
    """A name in the wrong account would be created there."""
    topology = Topology(aws, create=create)
    assert "the queue is missing" in await topology.drift(bound(QUEUE_ARN))
    with written(aws) as calls, pytest.raises(TopologyError) as raised:
        await topology.listener_queues(bound(QUEUE_ARN))
    assert str(raised.value) == f"the queue {QUEUE_ARN} does not exist; create it first"
    assert calls == []


async def test_a_queue_receives_from_a_topic_of_another_region(
    aws: AwsClients, elsewhere: AwsClients
) -> None:
    """The subscription is created in the region of the topic, and the queue admits it."""
    topic_arn = (await elsewhere.sns.create_topic(Name=TOPIC))["TopicArn"]
    assert f":{OTHER_REGION}:" in topic_arn
    binding, topology = bound(QUEUE, topic_arn), Topology(aws, create=True)
    assert f"subscription to {topic_arn} is missing" in await topology.drift(binding)
    async with running(topology, binding):
        await delivered(SnsChannel(elsewhere.sns, topology, topic_arn))
    assert await Topology(aws, create=False).drift(binding) == []
    assert f":{REGION}:" in await arn_of(aws, QUEUE)


async def test_a_listener_receives_from_a_queue_of_another_region(
    aws: AwsClients, elsewhere: AwsClients
) -> None:
    """Its topic is in the region of the clients, and its dead-letter queue in that of the queue."""
    await elsewhere.sqs.create_queue(QueueName=QUEUE)
    arn = await arn_of(elsewhere, QUEUE)
    assert f":{OTHER_REGION}:" in arn
    binding, topology = bound(arn, TOPIC), Topology(aws, create=True)
    async with running(topology, binding):
        await delivered(SnsChannel(aws.sns, topology, TOPIC))
    assert await arn_of(elsewhere, f"{QUEUE}-dlq") == f"{arn}-dlq"
    assert (await aws.sqs.list_queues()).get("QueueUrls", []) == []
    assert await Topology(aws, create=False).drift(binding) == []
    async with running(Topology(aws, create=False), binding):
        await delivered(SqsChannel(elsewhere.sqs, arn))


async def test_clients_of_one_region_explain_what_they_cannot_reach(aws: AwsClients) -> None:
    """Clients that the application opened itself."""
    topology = Topology(AwsClients(aws.sns, aws.sqs), create=True)
    with pytest.raises(TopologyError) as raised:
        await topology.listener_queues(bound(QUEUE, TOPIC_ARN))
    assert str(raised.value) == (
        f"the clients are of {REGION}, not {OTHER_REGION}; open them with aws_clients, or set open_region"
    )


async def shared_queue(owner: AwsClients, *, attributes: dict[str, str] | None = None) -> str:
    """Create a queue and its dead-letter queue that this account may use, and return its ARN."""
    await owner.sqs.create_queue(QueueName=f"{QUEUE}-dlq")
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everyone]})
    redrive = {"deadLetterTargetArn": await arn_of(owner, f"{QUEUE}-dlq"), "maxReceiveCount": 3}
    await owner.sqs.create_queue(
        QueueName=QUEUE,
        Attributes={"RedrivePolicy": json.dumps(redrive), "Policy": policy, **(attributes or {})},  # type: ignore[dict-item]
    )
    url = (await owner.sqs.get_queue_url(QueueName=f"{QUEUE}-dlq"))["QueueUrl"]
    await owner.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return await arn_of(owner, QUEUE)


@pytest.mark.parametrize("create", [True, False])
async def test_a_listener_receives_from_a_queue_of_another_account(
    aws: AwsClients, theirs: AwsClients, create: bool
) -> None:
    """Nothing of it is changed, and its policy, which admits this account, is no drift."""
    arn = await shared_queue(theirs)
    assert f":{OTHER_ACCOUNT}:" in arn
    topology = Topology(aws, create=create)
    with written(aws) as calls:
        assert await topology.drift(bound(arn)) == []
        assert (await topology.listener_queues(bound(arn))).max_receive_count == 3
    assert calls == []
    async with running(topology, bound(arn)):
        await delivered(SqsChannel(aws.sqs, arn))
        await SqsChannel(aws.sqs, arn).send([message(subject="bad")])

        async def dead_letters() -> int:
            return int((await attributes_of(theirs, f"{QUEUE}-dlq"))["ApproximateNumberOfMessages"])

        await eventually(dead_letters)


async def test_permissions_for_a_queue_of_another_account_are_enough(
    aws: AwsClients, theirs: AwsClients
) -> None:
    """Its own account refuses to look up a queue of that name."""
    arn = await shared_queue(theirs)

    def refuse(params: dict[str, Any], **_: object) -> object:
        return None if "QueueOwnerAWSAccountId" in str(params["body"]) else refusal("AccessDenied")

    with watched(aws, "before-call.sqs.GetQueueUrl", refuse):
        for create in (True, False):
            topology = Topology(aws, create=create)
            assert (await topology.listener_queues(bound(arn))).max_receive_count == 3
            assert await topology.drift(bound(arn)) == []


async def test_what_another_account_has_to_change_is_one_sentence(
    aws: AwsClients, theirs: AwsClients
) -> None:
    """Subscription and settings, in development too; a queue that does not exist there is not created."""
    arn = await shared_queue(theirs, attributes={"VisibilityTimeout": "20"})
    binding = bound(arn, TOPIC, settings=QueueSettings(visibility=60))
    topology = Topology(aws, create=True)
    await topology.topic_arn(TOPIC)
    with written(aws) as calls, pytest.raises(TopologyError) as raised:
        await topology.listener_queues(binding)
    assert calls == []
    assert str(raised.value) == (
        f"queue {QUEUE} belongs to account {OTHER_ACCOUNT}, which has to change it: "
        f"VisibilityTimeout is 20 s, not 60 s; subscription to {TOPIC} is missing"
    )
    with pytest.raises(TopologyError, match="VisibilityTimeout is 20 s, not 60 s"):
        await Topology(aws, create=False).listener_queues(binding)
    url = (await theirs.sqs.get_queue_url(QueueName=f"{QUEUE}-dlq"))["QueueUrl"]
    await theirs.sqs.delete_queue(QueueUrl=url)
    assert f"dead-letter queue {QUEUE}-dlq is missing" in await topology.drift(binding)


@sqs_listener("arn:aws:sqs:us-east-1:111122223333:near", topic="arn:aws:sns:eu-west-1:111122223333:events")
@sqs_listener("arn:aws:sqs:us-east-1:111122223333:from-new", topic="arn:aws:sns:eu-south-1:111122223333:e")
@sqs_listener("arn:aws:sqs:eu-south-1:111122223333:in-new", topic="events")
@sqs_listener("arn:aws:sqs:eu-south-1:111122223333:both", topic="arn:aws:sns:af-south-1:111122223333:e")
async def everywhere(event: Painted) -> None: ...


EVERYWHERE = [everywhere]


def test_the_command_shows_addresses_and_service_principals(capsys: pytest.CaptureFixture[str]) -> None:
    """AWS requires the name of an opt-in region in the principal of a message that crosses regions."""
    assert main(["show", "--json", f"{__name__}:EVERYWHERE", "--region", REGION]) == 0
    shown = {each["queue"]["name"]: each for each in json.loads(capsys.readouterr().out)}
    principals = {
        name: each["queue"]["attributes"]["Policy"]["Statement"][0]["Principal"]["Service"]
        for name, each in shown.items()
    }
    assert principals == {
        "near": "sns.amazonaws.com",
        "from-new": "sns.eu-south-1.amazonaws.com",
        "in-new": "sns.eu-south-1.amazonaws.com",
        "both": "sns.eu-south-1.amazonaws.com",
    }
    assert shown["in-new"]["queue"]["arn"] == "arn:aws:sqs:eu-south-1:111122223333:in-new"
    assert shown["in-new"]["deadLetterQueue"]["arn"] == "arn:aws:sqs:eu-south-1:111122223333:in-new-dlq"
    assert shown["in-new"]["topics"][0]["arn"].startswith(f"arn:${{AWS::Partition}}:sns:{REGION}:")

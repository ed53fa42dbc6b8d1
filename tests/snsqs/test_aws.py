"""Clients of SNS and SQS: their calls name the library, and an account may have thousands of topics."""

import asyncio
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import pytest
from snsqs import AwsClients, SendFailed, SnsChannel, SqsChannel, Topology, TopologyError, aws_clients

from local.fault_proxy import FaultProxy
from local.ports import HOST
from tests.conftest import REGION
from tests.snsqs.queues import message
from tests.snsqs.test_topology import refusal, watched

PAGES, PAGE_SECONDS = 5, 1.0
"""Together more than the 3.5 seconds that a publisher waits, as the 40 pages of 4,000 topics are."""


async def test_calls_name_the_library(aws: AwsClients) -> None:
    """As their user agent, with its version."""
    agents: list[str] = []

    def note(request: Any, **_: object) -> None:
        agents.append(request.headers["User-Agent"].decode())

    with watched(aws, "before-send", note):
        await aws.sns.list_topics()
        await aws.sqs.list_queues()
    assert all(agent.startswith(f"snsqs/{version('snsqs')} ") for agent in agents), agents


async def test_sending_to_a_queue_recovers(aws: AwsClients, aws_url: str) -> None:
    """SQS is unavailable at the first message, then it does not answer. Afterwards the queue is found by its
    name."""
    await aws.sqs.create_queue(QueueName="work")
    async with (
        FaultProxy(urlsplit(aws_url).port or 0) as proxy,
        aws_clients(region=REGION, endpoint_url=f"http://{HOST}:{proxy.port}") as clients,
    ):
        channel = SqsChannel(clients.sqs, "work")
        async with proxy.refusing():
            [refused] = await channel.try_send([message()])
            assert isinstance(refused, SendFailed)
        async with proxy.delaying(60), asyncio.timeout(10):
            [unanswered] = await channel.try_send([message()])
            assert str(unanswered) == "SQS did not accept the batch: TimeoutError"
        assert len(await channel.send([message()])) == 1


@pytest.fixture
async def many_topics(aws: AwsClients) -> list[str]:
    """Names of topics in the order of their pages, each of which has a hundred."""
    numbers = iter(range(100 * PAGES))

    async def create() -> None:
        for number in numbers:
            await aws.sns.create_topic(Name=f"topic-{number}")

    await asyncio.gather(*(create() for _ in range(10)))
    pages = aws.sns.get_paginator("list_topics").paginate()
    return [each["TopicArn"].rpartition(":")[2] async for page in pages for each in page["Topics"]]


async def test_publishing_recovers_in_an_account_with_many_topics(
    aws_url: str, many_topics: list[str]
) -> None:
    """SNS is unavailable at the start. Afterwards the first message finds its topic on the last page."""
    port = urlsplit(aws_url).port
    assert port is not None
    calls: list[str] = []

    async def count(model: Any, **_: object) -> None:
        calls.append(model.name)
        await asyncio.sleep(PAGE_SECONDS if model.name == "ListTopics" else 0)

    async with (
        FaultProxy(port) as proxy,
        aws_clients(region=REGION, endpoint_url=f"http://{HOST}:{proxy.port}") as clients,
    ):
        topology = Topology(clients, create=False)
        channel = SnsChannel(clients.sns, topology, many_topics[-1])
        async with proxy.refusing():
            await channel.prepare()
            [refused] = await channel.try_send([message()])
            assert "did not accept" in str(refused)
        with watched(clients, "before-call", count):
            assert len(await channel.send([message()])) == 1
            assert calls == ["ListTopics", "GetTopicAttributes", "PublishBatch"]
            with pytest.raises(TopologyError, match="the topic missing does not exist"):
                await topology.topic_arn("missing")
            assert len(calls) == 5
            with watched(
                clients, "before-call.sns.GetTopicAttributes", lambda **_: refusal("AuthorizationError")
            ):
                assert (await topology.topic_arn(many_topics[-1])).endswith(f":{many_topics[-1]}")

"""Readiness from publish results, and production, where publishing is the adapter's only right."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr
from snsqs import AwsClients, Message, MessagingError, SendFailed, TerminalError
from snsqs.postgres import Database

from local.fault_proxy import FaultProxy
from local.ports import HOST
from services.adapter.main import create_app
from services.adapter.readiness import MAX_UNREADY, TopicNotReady, TopicReadiness
from services.adapter.settings import Settings
from services.order.events import OrderCompleted
from shared.runtime.tokens import NamedToken
from shared.service import StartRefused
from tests.adapter.test_adapter import BATCH, event, receive, send, subscribe
from tests.serving import Served, adapter_service, eventually, serving
from tests.snsqs.relays import all_decided, append, log_of, relaying

ACCOUNT = "arn:aws:sns:us-east-1:000000000000"
ARNS = (f"{ACCOUNT}:order-events", f"{ACCOUNT}:scm-events")


async def readiness(adapter: Served) -> tuple[int, str]:
    """Status of `/readyz`, and what it reports of the topic."""
    answer = await adapter.http.get("/readyz")
    return answer.status_code, answer.json()["checks"]["topic order-events"]


@pytest.fixture
async def sns(aws_url: str) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the SNS/SQS server."""
    async with FaultProxy(httpx.URL(aws_url).port or 0) as proxy:
        yield proxy


async def test_a_failed_publish_ends_readiness_until_one_succeeds(sns: FaultProxy) -> None:
    """A new instance is ready; `/readyz` reports the error as soon as there is one."""
    async with adapter_service(f"http://{HOST}:{sns.port}") as adapter:
        assert await readiness(adapter) == (200, "ok")
        async with sns.refusing():
            assert await readiness(adapter) == (200, "ok")
            [result] = await send(adapter, event())
            assert result["decision"] == "failed"
            status, reason = await readiness(adapter)
            assert status == 503
            assert "SNS did not accept the batch for order-events" in reason
        assert (await readiness(adapter))[0] == 503
        [result] = await send(adapter, event())
        assert result["decision"] == "forwarded"
        assert await readiness(adapter) == (200, "ok")


async def test_an_outage_of_sns_parks_nothing(sns: FaultProxy, database: Database) -> None:
    """The relay asks `/readyz` before it counts an attempt, and its next batch ends the outage."""
    async with (
        adapter_service(f"http://{HOST}:{sns.port}") as adapter,
        relaying(database, adapter.url, max_attempts=1) as relay,
    ):
        async with sns.refusing():
            await append(database, 3, event=OrderCompleted)

            async def is_postponed() -> bool:
                return all(each.last_error for each in await log_of(database)) and bool(relay.degraded_reason)

            await eventually(is_postponed)
            assert (await readiness(adapter))[0] == 503
        await eventually(lambda: all_decided(database))
        assert [(each.attempts, each.decision) for each in await log_of(database)] == [(1, "forwarded")] * 3
        assert await readiness(adapter) == (200, "ok")


def results(*given: str | MessagingError) -> Any:
    async def proceed(_: object) -> list[str | MessagingError]:
        return list(given)

    return proceed


MESSAGE = [Message("{}", {})]


async def test_readiness_returns_without_traffic() -> None:
    """A load balancer sends nothing to an instance that is not ready, so it would never recover."""
    now = 0.0
    topic = TopicReadiness("order-events", clock=lambda: now)
    await topic(MESSAGE, results(SendFailed("no answer")))
    now = MAX_UNREADY - 1
    with pytest.raises(TopicNotReady, match="no answer"):
        await topic.check()
    now = MAX_UNREADY
    await topic.check()
    await topic(MESSAGE, results(SendFailed("no answer")))
    with pytest.raises(TopicNotReady):
        await topic.check()


@pytest.mark.parametrize("given", [(TerminalError("too large"),), (SendFailed("throttled"), "an-id"), ()])
async def test_a_bad_message_does_not_end_readiness(given: tuple[str | MessagingError, ...]) -> None:
    """The relay would count no attempt and never park it. What SNS accepts in part shows that it is there."""
    topic = TopicReadiness("order-events")
    assert await topic(MESSAGE, results(*given)) == list(given)
    await topic.check()


REJECTION = b"""<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code>
<Message>Invalid parameter: Message attribute value</Message></Error></ErrorResponse>"""


async def test_a_batch_that_sns_rejects_does_not_end_readiness(sns: FaultProxy) -> None:
    """One of its messages is the reason, and the relay counts their attempts."""
    head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: text/xml\r\ncontent-length: {len(REJECTION)}\r\n\r\n"
    async with adapter_service(f"http://{HOST}:{sns.port}") as adapter:
        async with sns.responding(head.encode() + REJECTION):
            [result] = await send(adapter, event())
        assert result["decision"] == "failed"
        assert "SNS rejected the batch for order-events" in result["error"]
        assert await readiness(adapter) == (200, "ok")


def production(**settings: Any) -> Settings:
    return Settings(
        environment="production",
        service_token=SecretStr("a-token-that-is-in-use"),
        service_tokens=(NamedToken("order", SecretStr("a-token-of-order")),),
        operator_tokens=(NamedToken("kim", SecretStr("a-token-that-only-kim-has")),),
        **settings,
    )


@pytest.mark.parametrize(
    ("arns", "missing"), [((), ("order-events", "scm-events")), (ARNS[:1], ("scm-events",))]
)
def test_every_topic_needs_an_arn_in_production(arns: tuple[str, ...], missing: tuple[str, ...]) -> None:
    """It is not looked up there. The error names the topics that have none, and the remedy."""
    with pytest.raises(StartRefused) as refused:
        create_app(production(topic_arns=arns))
    reason = str(refused.value)
    assert reason.startswith(f"environment variable TOPIC_ARNS has no ARN of {', '.join(missing)}, to which")
    assert reason.endswith(f"routes.toml forwards; add arn:aws:sns:REGION:ACCOUNT:{missing[0]}")


def test_topic_arns_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by commas; anything that is not the ARN of a topic is refused."""
    monkeypatch.setenv("TOPIC_ARNS", ", ".join(ARNS))
    assert Settings(environment="development").topic_arns == ARNS
    monkeypatch.setenv("TOPIC_ARNS", "order-events")
    with pytest.raises(ValueError, match="'order-events' is not the ARN of a topic"):
        Settings(environment="development")


@asynccontextmanager
async def in_production(aws_url: str) -> AsyncIterator[tuple[Served, set[str]]]:
    """An adapter in production, and the names of the actions that it calls."""
    actions = set[str]()
    proxy = FastAPI()

    @proxy.post("/")
    async def call(request: Request) -> Response:
        body = await request.body()
        actions.update(parse_qs(body.decode())["Action"])
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{aws_url}/", content=body, headers=dict(request.headers))
        return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])

    async with serving(proxy) as served:
        settings = production(topic_arns=ARNS, aws_endpoint_url=served.url)
        async with serving(create_app(settings)) as adapter:
            yield adapter, actions


async def send_in_production(adapter: Served) -> dict[str, Any]:
    headers = BATCH | {"authorization": "Bearer a-token-of-order"}
    answer = await adapter.http.post("/events", json=[event()], headers=headers)
    [result] = answer.json()["results"]
    found: dict[str, Any] = result
    return found


async def test_production_needs_the_right_to_publish_only(aws: AwsClients, aws_url: str) -> None:
    """No other action of SNS is called, at start or later. There is no endpoint for faults."""
    url = await subscribe(aws, "order-events")
    async with in_production(aws_url) as (adapter, actions):
        assert (await send_in_production(adapter))["decision"] == "forwarded"
        assert await readiness(adapter) == (200, "ok")
        assert (await adapter.http.get("/faults")).status_code == 404
    assert len(await receive(aws, url)) == 1
    assert actions == {"PublishBatch"}


async def test_a_topic_that_does_not_exist_is_named(aws_url: str) -> None:
    """In the result of the event and by `/readyz`. It is not looked up, and can be created meanwhile."""
    async with in_production(aws_url) as (adapter, actions):
        for _ in range(2):
            result = await send_in_production(adapter)
            assert result["decision"] == "failed"
            assert f"SNS did not accept the batch for {ARNS[0]}: " in result["error"]
        status, reason = await readiness(adapter)
    assert (status, ARNS[0] in reason) == (503, True)
    assert actions == {"PublishBatch"}


async def test_development_has_no_need_of_arns(aws: AwsClients, adapter: Served) -> None:
    """The topics are created."""
    assert (await send(adapter, event()))[0]["decision"] == "forwarded"
    topics = (await aws.sns.list_topics())["Topics"]
    assert {topic["TopicArn"].rpartition(":")[2] for topic in topics} == {"order-events", "scm-events"}

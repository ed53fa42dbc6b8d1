"""A listener whose calls are refused until somebody changes a permission, a key or a queue."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from botocore.exceptions import ClientError
from snsqs import (
    AwsClients,
    Binding,
    ListenerContainer,
    SendFailed,
    SnsChannel,
    SqsChannel,
    Topology,
    bindings,
)
from snsqs.fastapi import Messaging, open_listeners
from snsqs.outbox import ChannelSink, EventLog, Relay, RelayOptions
from snsqs.postgres import Database
from snsqs.queues import BatchOutcome, ListenerQueues, RawAttributes, Received, message_attributes
from snsqs.testing import Faults, MemoryQueue, run_on_virtual_clock
from starlette.applications import Starlette

from tests.serving import eventually
from tests.snsqs.front import TOPIC_ARN, refused, refused_by_sns, serving_front
from tests.snsqs.queues import QUEUE, Handler, Painted, listener, message
from tests.snsqs.relays import all_decided, append, running

DEAD_LETTERS = f"{QUEUE}-dlq"


@dataclass(eq=False)
class Guarded(MemoryQueue):
    """A queue that refuses operations with the error codes given for them."""

    refused: dict[str, str] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def _check(self, operation: str) -> None:
        self.calls[operation] += 1
        if (code := self.refused.get(operation)) is not None:
            text = f"User: arn:aws:iam::1:role/app is not authorized to perform: {operation.lower()}"
            raise ClientError({"Error": {"Code": code, "Message": text}}, operation)

    async def receive(self, *, limit: int, wait: int, visibility: int) -> list[Received]:
        self._check("ReceiveMessage")
        return await super().receive(limit=limit, wait=wait, visibility=visibility)

    async def delete(self, handles: Sequence[str]) -> BatchOutcome:
        self._check("DeleteMessageBatch")
        return await super().delete(handles)

    async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
        self._check("ChangeMessageVisibilityBatch")
        return await super().change_visibility(seconds)

    async def send(
        self, body: str, attributes: RawAttributes, *, group: str | None, deduplication: str
    ) -> str:
        self._check("SendMessage")
        return await super().send(body, attributes, group=group, deduplication=deduplication)

    def add(self, subject: str) -> None:
        sent = message(subject=subject)
        self.put(subject, sent.payload, message_attributes(sent), None, sent.id)


@dataclass
class Run:
    """A listener on guarded queues."""

    queue: Guarded = field(default_factory=lambda: Guarded(QUEUE, Faults()))
    dead_letters: Guarded = field(default_factory=lambda: Guarded(DEAD_LETTERS, Faults()))
    handled: Counter[str] = field(default_factory=Counter)
    failing: set[str] = field(default_factory=set)
    duration: float = 0.0

    @property
    def handler(self) -> Handler:
        @listener
        async def on_painted(event: Painted) -> None:
            self.handled[event.source.id] += 1
            await asyncio.sleep(self.duration)
            if event.source.id in self.failing:
                raise RuntimeError("as always")

        return on_painted

    async def listener_queues(self, binding: Binding) -> ListenerQueues:
        return ListenerQueues(self.queue, self.dead_letters)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[ListenerContainer]:
        container = ListenerContainer(self, *bindings([self.handler]))
        task = asyncio.create_task(container.run())
        try:
            yield container
            assert not task.done()
        finally:
            container.stop()
            await task


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_a_listener_that_may_not_delete_stops_receiving_until_it_may(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It names the permission and the queue, handles no message twice, and goes on by itself."""

    async def scenario() -> None:
        run = Run()
        run.queue.refused["DeleteMessageBatch"] = "AccessDenied"
        async with run.listening() as container:
            for number in range(200):
                run.queue.add(str(number))
                await asyncio.sleep(1)
            await asyncio.sleep(3_600)
            reason = container.degraded_reason or ""
            assert f"permission sqs:DeleteMessage on {QUEUE} is missing" in reason
            assert "receives no messages while it cannot delete them" in reason
            assert container.health.state == "degraded"
            assert run.queue.calls["DeleteMessageBatch"] < 3_800 / 3
            assert run.queue.calls["ReceiveMessage"] < 100
            assert 0 < len(run.handled) < 100, "more messages would stay undeleted"
            assert len(lines(caplog)) <= 3_800 / 60 + 3
            run.queue.refused.clear()
            await asyncio.sleep(60)
            assert run.queue.is_empty
            assert container.degraded_reason is None
        assert run.handled == {str(number): 1 for number in range(200)}

    run_on_virtual_clock(scenario())


def test_a_message_that_was_handled_but_not_deleted_is_not_handled_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is received again after half a minute, because the visibility cannot be changed either."""

    async def scenario() -> None:
        run = Run()
        run.queue.refused.update(
            DeleteMessageBatch="AccessDenied", ChangeMessageVisibilityBatch="AccessDenied"
        )
        async with run.listening() as container:
            for number in range(30):
                run.queue.add(str(number))
            await asyncio.sleep(600)
            assert {each.receive_count for each in run.queue.messages} - {0, 1}, "received again"
            assert "sqs:DeleteMessage" in (container.degraded_reason or "")
            assert run.queue.calls["ReceiveMessage"] < 200
            assert len(lines(caplog)) <= 4 * 10 + 4, "per minute: two refusals, and messages that come again"
            run.queue.refused.clear()
            await asyncio.sleep(120)
            assert run.queue.is_empty
        assert run.handled == {str(number): 1 for number in range(30)}

    run_on_virtual_clock(scenario())


def test_other_messages_are_handled_while_dead_letters_cannot_be_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The failed message comes again with growing delay, and is a dead letter once that is permitted."""

    async def scenario() -> None:
        run = Run(failing={"poison"})
        run.dead_letters.refused["SendMessage"] = "AccessDeniedException"
        run.queue.add("poison")
        async with run.listening() as container:
            for number in range(600):
                run.queue.add(str(number))
                await asyncio.sleep(1)
            assert f"permission sqs:SendMessage on {DEAD_LETTERS} is missing" in (
                container.degraded_reason or ""
            )
            assert run.handled["poison"] < 20
            assert sum(run.handled.values()) == 600 + run.handled["poison"]
            about = [each for each in lines(caplog) if each.msg == "queue call failed"]
            assert 0 < len(about) <= 11
            run.dead_letters.refused.clear()
            await asyncio.sleep(1_000)
            assert [each.attributes["ce-subject"] for each in run.dead_letters.messages]
            assert container.degraded_reason is None

    run_on_virtual_clock(scenario())


def test_short_handlers_work_while_the_visibility_cannot_be_changed() -> None:
    """Longer ones lose their lease, for the reason that is reported."""

    async def scenario() -> None:
        run = Run(duration=20)
        run.queue.refused["ChangeMessageVisibilityBatch"] = "AccessDenied"
        async with run.listening() as container:
            for number in range(8):
                run.queue.add(str(number))
            await asyncio.sleep(19)
            assert f"sqs:ChangeMessageVisibility on {QUEUE} is missing" in (container.degraded_reason or "")
            await asyncio.sleep(10)
            assert run.queue.is_empty

    run_on_virtual_clock(scenario())


def test_a_listener_that_stops_reports_what_it_could_not_delete(caplog: pytest.LogCaptureFixture) -> None:
    """Within the time that stopping may take."""

    async def scenario() -> None:
        run = Run()
        run.queue.refused["DeleteMessageBatch"] = "AccessDenied"
        async with run.listening():
            for number in range(3):
                run.queue.add(str(number))
            await asyncio.sleep(10)
            stopped_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - stopped_at < 20

    run_on_virtual_clock(scenario())
    [line] = [each for each in lines(caplog) if "could not be deleted" in each.msg]
    assert vars(line)["count"] == 3


def test_a_change_of_visibility_that_hangs_is_reported() -> None:
    """It is cut short, so that it does not cost the leases of later messages, and tried again."""

    class Hanging(Guarded):
        async def change_visibility(self, seconds: Mapping[str, int]) -> BatchOutcome:
            self.calls["ChangeMessageVisibilityBatch"] += 1
            await asyncio.sleep(3_600)
            return BatchOutcome()

    async def scenario() -> None:
        run = Run(queue=Hanging(QUEUE, Faults()), duration=25)
        async with run.listening() as container:
            run.queue.add("1")
            await asyncio.sleep(24)
            assert container.degraded_reason == "SQS: no response in time"
            await asyncio.sleep(100)
            assert run.queue.is_empty
            assert container.degraded_reason is None, "nothing has failed since"

    run_on_virtual_clock(scenario())


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AccessDenied", f"permission sqs:ReceiveMessage on {QUEUE} is missing"),
        ("KMS.AccessDeniedException", f"cannot use the KMS key of {QUEUE}; kms:Decrypt is needed"),
        ("KmsDisabled", f"cannot use the KMS key of {QUEUE}"),
        ("QueueDoesNotExist", f"{QUEUE} does not exist"),
        ("ExpiredToken", "the credentials are invalid or have expired"),
        ("RequestTimeTooSkewed", "the clock of this machine differs from that of AWS"),
        ("OverLimit", f"{QUEUE} has as many messages in flight as SQS permits"),
        ("ThrottlingException", "sqs:ReceiveMessage is throttled"),
        ("RequestThrottled", "sqs:ReceiveMessage is throttled"),
        ("KmsThrottled", "sqs:ReceiveMessage is throttled"),
        ("ServiceUnavailable", "ServiceUnavailable"),
    ],
)
def test_a_refused_receive_is_repeated_with_growing_pauses(
    caplog: pytest.LogCaptureFixture, code: str, reason: str
) -> None:
    """The reason says what to correct, in the health and in one log line a minute."""

    async def scenario() -> None:
        run = Run()
        run.queue.refused["ReceiveMessage"] = code
        async with run.listening() as container:
            await asyncio.sleep(1_800)
            assert reason in (container.degraded_reason or "")
            assert 1_800 / 10 < run.queue.calls["ReceiveMessage"] < 1_800 / 3
            assert 1_800 / 75 < len(lines(caplog)) <= 1_800 / 60 + 1
            assert reason in str(vars(lines(caplog)[0])["error"])
            run.queue.refused.clear()
            run.queue.add("1")
            await asyncio.sleep(30)
            assert run.handled == {"1": 1}
            assert container.degraded_reason is None

    run_on_virtual_clock(scenario())


async def test_a_deleted_queue_is_waited_for_in_production(aws: AwsClients) -> None:
    """The listener says that it is missing, and goes on with one of the same name."""
    handled = []

    @listener
    async def on_painted(event: Painted) -> None:
        handled.append(event.source.id)

    for name in (QUEUE, DEAD_LETTERS):
        await aws.sqs.create_queue(QueueName=name)
    url = (await aws.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
    container = ListenerContainer(Topology(aws, create=False), *bindings([on_painted]))
    await container.prepare()
    running = asyncio.create_task(container.run())
    await aws.sqs.delete_queue(QueueUrl=url)

    async def is_missed() -> bool:
        return f"{QUEUE} does not exist" in (container.degraded_reason or "")

    await eventually(is_missed)
    await aws.sqs.create_queue(QueueName=QUEUE)
    sent = message()
    attributes = message_attributes(sent)
    await aws.sqs.send_message(QueueUrl=url, MessageBody=sent.payload, MessageAttributes=attributes)

    async def is_handled() -> bool:
        return handled == ["1"] and container.degraded_reason is None

    await eventually(is_handled)
    container.stop()
    await running


@pytest.mark.parametrize(
    ("code", "sns_reason", "sqs_reason"),
    [
        (
            "AuthorizationError",
            f"permission sns:Publish on {TOPIC_ARN} is missing",
            f"permission sqs:SendMessage on {QUEUE} is missing",
        ),
        (
            "KMSAccessDenied",
            f"cannot use the KMS key of {TOPIC_ARN}; kms:GenerateDataKey and kms:Decrypt",
            f"cannot use the KMS key of {QUEUE}; kms:GenerateDataKey and kms:Decrypt",
        ),
        ("Throttled", "sns:Publish is throttled", "sqs:SendMessage is throttled"),
    ],
)
async def test_the_error_of_a_message_that_may_not_be_sent_names_the_permission(
    code: str, sns_reason: str, sqs_reason: str
) -> None:
    """Of the topic and of the queue, by the response of the endpoint."""
    async with serving_front() as (front, clients):
        front.answers |= {"PublishBatch": refused_by_sns(code), "SendMessageBatch": refused(code)}
        topology = Topology(clients, create=False)
        for channel, reason in (
            (SnsChannel(clients.sns, topology, TOPIC_ARN), sns_reason),
            (SqsChannel(clients.sqs, QUEUE), sqs_reason),
        ):
            [result] = await channel.try_send([message()])
            assert isinstance(result, SendFailed)
            assert reason in str(result)


async def test_a_relay_names_the_permission_that_its_channel_lacks(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """In its degraded reason and in one log line a minute. No event is parked, and it goes on afterwards."""
    await append(database, 20)
    async with serving_front() as (front, clients):
        front.answers["PublishBatch"] = refused_by_sns("AuthorizationError")
        channel = SnsChannel(clients.sns, Topology(clients, create=False), TOPIC_ARN)
        options = RelayOptions(poll_interval=0.05, max_backoff=0.1, max_attempts=1)
        relay = Relay(database, EventLog(), ChannelSink(channel, source="order"), options=options)

        async def tried_often() -> bool:
            return front.calls["PublishBatch"] >= 10

        async with running(relay):
            await eventually(tried_often)
            assert f"permission sns:Publish on {TOPIC_ARN} is missing" in (relay.degraded_reason or "")
            assert [each.msg for each in lines(caplog)] == ["relay waits"]
            front.answers.clear()
            await eventually(lambda: all_decided(database))


async def test_a_listener_that_may_not_look_up_its_queue_names_the_permission() -> None:
    """The service starts, and answers it on `/readyz`; it handles messages once that is permitted."""
    handled = []

    @listener
    async def on_painted(event: Painted) -> None:
        handled.append(event.source.id)

    async with serving_front() as (front, _):
        front.answers["GetQueueUrl"] = refused("AccessDeniedException", text="not authorized")
        messaging = Messaging(
            lambda: open_listeners([on_painted], region="us-east-1", endpoint_url=front.url)
        )
        app = Starlette(routes=messaging.router.routes, lifespan=messaging.lifespan)
        async with (
            messaging.lifespan(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http,
        ):
            reason = (await http.get("/readyz")).json()["checks"][QUEUE]
            assert reason.startswith(f"SQS: permission sqs:GetQueueUrl on {QUEUE} is missing: ")
            assert "not authorized" in reason
            front.answers.clear()
            front.put(QUEUE, message())

            async def is_well() -> bool:
                checks = (await http.get("/readyz")).json()["checks"]
                return handled == ["1"] and checks == {QUEUE: "ok"}

            await eventually(is_well)

"""Responses that are not of SNS or SQS: of a proxy, a login page, a broken endpoint."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from snsqs import (
    AwsClients,
    ListenerContainer,
    ListenerOptions,
    SendFailed,
    SnsChannel,
    SqsChannel,
    Topology,
    bindings,
)
from snsqs.aws import UnexpectedResponse, transient_errors
from snsqs.queues import SqsQueue

from tests.serving import eventually
from tests.snsqs.front import TOPIC_ARN, Answer, Front, answered, refused, serving_front
from tests.snsqs.queues import QUEUE, Recorder, message

RESPONSES = {
    "expired token": refused("ExpiredToken", 403),
    "clock skew": refused("RequestTimeTooSkewed", 403),
    "over limit": refused("OverLimit"),
    "throttled": refused("ThrottlingException"),
    "KMS": refused("KMS.AccessDeniedException"),
    "access denied": refused("AccessDeniedException", 403),
    "internal error": refused("InternalError", 500),
    "HTML 502": answered("<html>Bad Gateway</html>", 502, "text/html"),
    "empty 403": answered("", 403),
    "list 400": answered("[]", 400),
    "number as type 400": answered('{"__type": 5}', 400),
    "not text 400": answered(b"\xff\xfe", 400),
    "failed entries": answered('{"Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": false}]}'),
    "HTML 200": answered("<html>Log in</html>", 200, "text/html"),
    "empty 200": answered(""),
    "list 200": answered("[]"),
    "null 200": answered("null"),
    "number 200": answered("5"),
    "truncated 200": answered('{"Messages": [{"MessageId": "1", "Bo'),
    "not text 200": answered(b"\xff\xfe"),
    "empty object 200": answered("{}"),
    "other object 200": answered('{"error": "log in first"}'),
    "wrong types 200": answered(
        '{"Messages": "x", "Successful": "x", "Failed": 5, "QueueUrl": null, "Attributes": []}'
    ),
    "wrong entries 200": answered(
        '{"Messages": [null], "Successful": [null], "Failed": [{}], "QueueUrl": null, "Attributes": {}}'
    ),
    "incomplete message 200": answered('{"Messages": [{"MessageId": "1", "Body": 5}], "Successful": [{}]}'),
    "deeply nested 200": answered('{"Messages": ' + "[" * 100_000 + "]" * 100_000 + "}"),
}

UNEXPECTED = {name: answer for name, answer in RESPONSES.items() if name.endswith("200")}


@asynccontextmanager
async def running(clients: AwsClients, recorder: Recorder) -> AsyncIterator[ListenerContainer]:
    [binding] = bindings(recorder.handlers)
    options = ListenerOptions(max_poll_backoff=1)
    container = ListenerContainer(Topology(clients, create=False), binding, options=options)
    await container.prepare()
    task = asyncio.create_task(container.run())
    try:
        yield container
        assert not task.done()
    finally:
        container.stop()
        await task


Scenario = Callable[[Front, AwsClients, Answer], Awaitable[None]]


async def for_each(answers: Mapping[str, Answer], scenario: Scenario) -> None:
    """Run the scenario for all answers at the same time, each with a front of its own."""

    async def run(name: str, answer: Answer) -> None:
        try:
            async with serving_front() as (front, clients):
                await scenario(front, clients, answer)
        except Exception as error:
            error.add_note(name)
            raise

    async with asyncio.TaskGroup() as group:
        for name, answer in answers.items():
            group.create_task(run(name, answer))


async def test_a_listener_outlives_every_response_to_a_receive_call() -> None:
    """It backs off, reports why, and handles the next message once the endpoint is well."""

    async def scenario(front: Front, clients: AwsClients, answer: Answer) -> None:
        recorder = Recorder()
        front.answers["ReceiveMessage"] = answer
        async with running(clients, recorder) as container:
            await eventually(lambda: is_degraded(container))
            assert (container.health.reason or "").startswith("SQS: ")
            before = front.calls["ReceiveMessage"]
            await asyncio.sleep(2)
            assert front.calls["ReceiveMessage"] - before <= 10, "of which the SDK repeats up to half"
            del front.answers["ReceiveMessage"]
            front.put(QUEUE, message())
            await eventually(lambda: is_handled(front, recorder))
            await eventually(lambda: is_listening(container))
            assert recorder.painted == ["1"]

    await for_each(RESPONSES, scenario)


async def is_degraded(container: ListenerContainer) -> bool:
    return container.health.state == "degraded"


async def is_listening(container: ListenerContainer) -> bool:
    return container.health.state == "listening" and container.degraded_reason is None


async def is_handled(front: Front, recorder: Recorder) -> bool:
    return recorder.painted == ["1"] and front.queue(QUEUE).is_empty


@pytest.mark.parametrize("action", ["GetQueueUrl", "GetQueueAttributes"])
async def test_a_listener_starts_with_any_response_to_a_lookup(action: str) -> None:
    """It reports why it does not receive, and does so once the endpoint is well."""

    async def scenario(front: Front, clients: AwsClients, answer: Answer) -> None:
        recorder = Recorder()
        front.answers[action] = answer
        async with running(clients, recorder) as container:
            assert (container.health.reason or "").startswith("SQS: ")
            del front.answers[action]
            front.put(QUEUE, message())
            await eventually(lambda: is_handled(front, recorder))
            await eventually(lambda: is_listening(container))
            assert recorder.painted == ["1"]

    await for_each(RESPONSES, scenario)


async def test_a_message_whose_delete_has_no_proper_response_is_deleted_later() -> None:
    """It is neither taken for deleted nor handled again."""

    async def scenario(front: Front, clients: AwsClients, answer: Answer) -> None:
        recorder = Recorder()
        front.answers["DeleteMessageBatch"] = answer
        front.put(QUEUE, message())
        async with running(clients, recorder) as container:
            await eventually(lambda: is_degraded(container))
            assert not front.queue(QUEUE).is_empty
            del front.answers["DeleteMessageBatch"]
            await eventually(lambda: is_handled(front, recorder))
            await eventually(lambda: is_listening(container))
            assert recorder.painted == ["1"]

    await for_each(RESPONSES, scenario)


async def test_every_call_of_a_queue_raises_a_transient_error() -> None:
    """Never an error of the SDK's parser, and never a success."""

    async def scenario(front: Front, clients: AwsClients, answer: Answer) -> None:
        queue = SqsQueue(clients.sqs, QUEUE, f"{front.url}/000000000000/{QUEUE}")
        actions = ("DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessage", "GetQueueAttributes")
        front.answers.update(dict.fromkeys(actions, answer))
        calls = queue.delete(["h"]), queue.change_visibility({"h": 1}), queue.send("b", {}), queue.depth()
        for call in calls:
            with pytest.raises(UnexpectedResponse):
                await call

    await for_each(UNEXPECTED, scenario)


async def test_a_channel_returns_an_error_for_every_response() -> None:
    """Of the topic and of the queue; sending again is possible."""

    async def scenario(front: Front, clients: AwsClients, answer: Answer) -> None:
        topology = Topology(clients, create=False)
        channels = SqsChannel(clients.sqs, QUEUE), SnsChannel(clients.sns, topology, TOPIC_ARN)
        front.answers |= {"SendMessageBatch": answer, "PublishBatch": answer}
        for channel in channels:
            [result] = await channel.try_send([message()])
            assert isinstance(result, SendFailed), result
        front.answers.clear()
        for channel in channels:
            [result] = await channel.try_send([message()])
            assert isinstance(result, str), result

    await for_each(RESPONSES, scenario)


async def test_a_lookup_of_a_topic_raises_a_transient_error() -> None:
    """So that it is repeated."""

    async def scenario(front: Front, clients: AwsClients, answer: Answer) -> None:
        front.answers["ListTopics"] = answer
        with pytest.raises(transient_errors()):
            await Topology(clients, create=False).topic_arn("topic")

    await for_each(RESPONSES, scenario)


async def test_a_message_without_a_time_of_sending_has_none() -> None:
    """Not that of 1970, from which its age would be counted."""
    async with serving_front() as (front, aws):
        url = (await aws.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
        front.answers["ReceiveMessage"] = answered(
            '{"Messages": [{"MessageId": "1", "ReceiptHandle": "h", "Body": "{}"}]}'
        )
        [received] = await SqsQueue(aws.sqs, QUEUE, url).receive(limit=1, wait=0)
    assert received.sent_at is None

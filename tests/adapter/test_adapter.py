"""The Adapter service through its REST API: events that leave, events that stay, progress and faults."""

import copy
import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from snsqs import AwsClients, Message, MessageChannel, MessagingError, SendFailed

from local.ports import HOST
from services.adapter.bridge import Bridge
from services.adapter.main import create_app
from services.adapter.routes import Decision, read_routes
from services.adapter.settings import RoutesSettings, Settings
from shared.runtime.tokens import bearer, development_token
from tests.order.test_api import ORDER
from tests.serving import OPERATOR, SERVICE, Served, serving

BATCH = {"content-type": "application/cloudevents-batch+json", **SERVICE}


def event(event_type: str = "OrderCompleted", order_id: str = "1", **changes: Any) -> dict[str, Any]:
    source = {
        "id": order_id,
        "version": 2,
        "status": "COMPLETED",
        "completedAt": None,
        **copy.deepcopy(ORDER),
    }
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "order",
        "type": event_type,
        "subject": order_id,
        "time": "2021-07-17T23:59:59Z",
        "sequence": "2",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "datacontenttype": "application/json",
        "data": {"source": source, "occurenceOn": 1520393282506},
    } | changes


async def send(adapter: Served, *events: Any, access: dict[str, str] = SERVICE) -> list[dict[str, Any]]:
    answer = await adapter.http.post("/events", content=json.dumps(events), headers=BATCH | access)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def subscribe(aws: AwsClients, topic: str) -> str:
    """Subscribe a queue to the topic, without a filter, and return its URL."""
    arn = (await aws.sns.create_topic(Name=topic))["TopicArn"]
    url = (await aws.sqs.create_queue(QueueName="all-of-it"))["QueueUrl"]
    attributes = await aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    await aws.sns.subscribe(
        TopicArn=arn,
        Protocol="sqs",
        Endpoint=attributes["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )
    return url


async def receive(aws: AwsClients, url: str) -> list[Any]:
    answer = await aws.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1
    )
    return list(answer.get("Messages", []))


async def test_a_forwarded_event_leaves_as_the_plain_domain_event(adapter: Served, aws: AwsClients) -> None:
    """The body is the contract's JSON; metadata travels as message attributes."""
    url = await subscribe(aws, "order-events")
    given = event(tracestate="vendor=a")
    [result] = await send(adapter, given)
    assert (result["decision"], result["rule"]) == ("forwarded", "completed-orders-to-scm")
    [message] = await receive(aws, url)
    assert json.loads(message["Body"]) == {
        "source": {
            "id": "1",
            "version": 2,
            "status": "COMPLETED",
            "orderLines": [{"sku": "MUG-01", "quantity": 2}],
        },
        "occurenceOn": 1520393282506,
    }
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {
        "ce-id": given["id"],
        "ce-type": "OrderCompleted",
        "ce-source": "order",
        "ce-time": "2021-07-17T23:59:59+00:00",
        "ce-subject": "1",
        "ce-sequence": "2",
        "traceparent": given["traceparent"],
        "tracestate": "vendor=a",
        "content-type": "application/json",
    }


async def test_no_unpublished_field_leaves(adapter: Served, aws: AwsClients) -> None:
    """An anti-corruption layer: no name, address or phone number goes out by accident."""
    url = await subscribe(aws, "order-events")
    await send(adapter, event())
    [message] = await receive(aws, url)
    for private in ("phoneNumber", "010-1234-5678", "Kim", "buyer", "deliveryAddress", "unitPrice"):
        assert private not in message["Body"]


async def test_events_of_a_paid_order_leave_with_the_same_fields(adapter: Served, aws: AwsClients) -> None:
    """A newer event supersedes the older ones, so each has all that SCM needs."""
    url = await subscribe(aws, "order-events")
    events = [event(kind) for kind in ("OrderCompleted", "DeliveryAddressChanged", "OrderCancelled")]
    for each in events:
        each["data"]["source"]["completedAt"] = "2021-07-17T23:59:59Z"
    results = await send(adapter, *events)
    assert [(result["decision"], result["rule"]) for result in results] == [
        ("forwarded", "completed-orders-to-scm"),
        ("forwarded", "address-changes-to-scm"),
        ("forwarded", "cancellations-to-scm"),
    ]
    sources = [json.loads(message["Body"])["source"] for message in await receive(aws, url)]
    lines = [{"sku": line["sku"], "quantity": line["quantity"]} for line in ORDER["orderLines"]]
    assert sources == [{"id": "1", "version": 2, "status": "COMPLETED", "orderLines": lines}] * 3


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (event("OrderPlaced"), "placed-is-not-paid"),
        (event("OrderCancelled"), "cancelled-before-scm-knew"),
        (event("DeliveryAddressChanged"), "address-changed-before-scm-knew"),
        (event("OrderArchived"), "no-route"),
        (event("OrderCompleted", source="another-service"), "no-route"),
    ],
)
async def test_a_held_back_event_names_its_rule(adapter: Served, given: dict[str, Any], rule: str) -> None:
    """An event that matches no route is held back as well."""
    [result] = await send(adapter, given, access=bearer(development_token(given["source"])))
    assert (result["decision"], result["rule"], result["messageId"]) == ("held_back", rule, None)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("not an event", "not a CloudEvent"),
        ({}, "not a CloudEvent"),
        (event(id=""), "id:"),
        (event(sequence="two"), "sequence:"),
        (event(data={"source": {}}), "occurenceOn"),
        (event(subject="2"), "completed-orders-to-scm: source.id is not the subject of the event, 2"),
        (event(type="two\nlines"), "type:"),
        (event(id="\ud800"), "id:"),
        (event(id=["x"] * 1000), "id:"),
        (event(data={"source": {"id": "\ud800"}, "occurenceOn": 1}), "data: .*surrogates not allowed"),
        (event(data={"source": {"id": 1e400}, "occurenceOn": 1}), "data: .*Out of range float values"),
    ],
)
async def test_one_bad_event_fails_alone(adapter: Served, bad: Any, reason: str) -> None:
    """G5: the others are forwarded, and the results stay in the order of the batch."""
    first, second = event(), event()
    results = await send(adapter, first, bad, second)
    assert [result["decision"] for result in results] == ["forwarded", "failed", "forwarded"]
    assert re.search(reason, results[1]["error"])
    assert [results[0]["id"], results[2]["id"]] == [first["id"], second["id"]]


async def test_an_event_that_a_rule_fails_on_names_the_rule(adapter: Served) -> None:
    """As an event that it decides, so that both are counted together."""
    [result] = await send(adapter, event(subject="2"))
    assert (result["decision"], result["rule"]) == ("failed", "completed-orders-to-scm")


async def test_any_character_of_json_reaches_the_queue(adapter: Served, aws: AwsClients) -> None:
    """SQS takes the characters of XML only: others are escaped."""
    url = await subscribe(aws, "order-events")
    sku = "\uffff \x00 ✓"
    source = {"id": "1", "orderLines": [{"sku": sku, "quantity": 1}]}
    [result] = await send(adapter, event(data={"source": source, "occurenceOn": 1}))
    assert result["decision"] == "forwarded"
    [message] = await receive(aws, url)
    assert json.loads(message["Body"])["source"]["orderLines"][0]["sku"] == sku
    assert message["Body"].isascii()


async def test_an_event_over_the_limit_of_sns_fails_alone(adapter: Served) -> None:
    """SNS would refuse the whole batch; the limit is known here."""
    lines = [{"sku": "x" * 1000, "quantity": 1}] * 250
    large = event(data={"source": {"id": "1", "orderLines": lines}, "occurenceOn": 1})
    results = await send(adapter, event(), large)
    assert [result["decision"] for result in results] == ["forwarded", "failed"]
    assert "the limit is" in results[1]["error"]


async def test_a_large_batch_is_published_whole(adapter: Served, aws: AwsClients) -> None:
    """More than SNS takes in one call: batches of ten, every event with its own message id."""
    results = await send(adapter, *(event(order_id=str(n)) for n in range(37)))
    assert len({result["messageId"] for result in results}) == 37


class Channel(MessageChannel):
    """Channel that assigns `sns-<event id>`, and rejects the ids in `rejected`."""

    def __init__(self, *rejected: str) -> None:
        self._rejected = rejected

    async def try_send(self, messages: Sequence[Message[str]]) -> list[str | MessagingError]:
        return [
            SendFailed("throttled") if message.id in self._rejected else f"sns-{message.id}"
            for message in messages
        ]


async def test_each_event_has_the_result_of_its_own_message() -> None:
    """Whatever leaves to which topic, is held back or fails around it; in the order of the batch."""
    answer = {"id": "1", "version": 1, "status": "SHORT"}
    reply: dict[str, Any] = {"source": "scm", "data": {"source": answer, "occurenceOn": 1}}
    batch = [
        event(id="a"),
        event("StockShort", id="b", **reply),
        event("OrderPlaced", id="c"),
        event(id="d"),
        "not an event",
        event("StockShort", id="e", **reply),
        event(id="f"),
    ]
    recorded: list[Decision] = []
    channels = {"order-events": Channel("d"), "scm-events": Channel("b")}
    bridge = Bridge(read_routes(RoutesSettings().routes_file), channels, recorded.append)
    decisions = await bridge.take(batch)
    assert [(each.id, each.decision, each.message_id, each.error) for each in decisions[:4]] == [
        ("a", "forwarded", "sns-a", None),
        ("b", "failed", None, "throttled"),
        ("c", "held_back", None, None),
        ("d", "failed", None, "throttled"),
    ]
    assert [(each.id, each.decision, each.message_id) for each in decisions[4:]] == [
        ("", "failed", None),
        ("e", "forwarded", "sns-e"),
        ("f", "forwarded", "sns-f"),
    ]
    assert recorded == decisions


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", BATCH, 400),
        (b"{}", BATCH, 422),
        (b"[]", BATCH | {"content-type": "application/json"}, 415),
        (b"[" + b"1," * 1000 + b"1]", BATCH, 422),
        (b'"' + b"x" * 9_000_000 + b'"', BATCH, 413),
    ],
)
async def test_a_body_that_is_not_a_batch_is_rejected(
    adapter: Served, content: bytes, headers: dict[str, str], status: int
) -> None:
    """As problem details; the relay then looks for the event to blame."""
    answer = await adapter.http.post("/events", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_without_sns_events_fail_and_the_adapter_is_not_ready() -> None:
    """It starts all the same, and is not ready from the first event that it cannot publish."""
    settings = Settings(environment="development", aws_endpoint_url=f"http://{HOST}:1")
    async with serving(create_app(settings)) as adapter:
        [result] = await send(adapter, event())
        assert result["decision"] == "failed"
        assert "SNS did not accept the batch for order-events" in result["error"]
        ready = await adapter.http.get("/readyz")
        assert ready.status_code == 503
        assert "topic order-events" in ready.json()["checks"]
        assert (await adapter.http.get("/livez")).status_code == 200


async def progress(adapter: Served, **params: str) -> Any:
    answer = await adapter.http.get("/progress", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_progress_has_the_decisions_after_a_cursor(adapter: Served) -> None:
    """Oldest first, each once; without a cursor none."""
    cursor = (await progress(adapter))["cursor"]
    forwarded, held_back, failed = event(), event("OrderPlaced"), event(subject="2")
    results = await send(adapter, forwarded, held_back, failed)
    found = await progress(adapter, after=cursor)
    assert (found["decisions"][0], found["missed"]) == (
        {
            "eventId": forwarded["id"],
            "type": "OrderCompleted",
            "orderId": "1",
            "source": "order",
            "decision": "forwarded",
            "rule": "completed-orders-to-scm",
            "topic": "order-events",
            "messageId": results[0]["messageId"],
            "error": None,
            "at": results[0]["decidedAt"],
        },
        0,
    )
    assert [each["decision"] for each in found["decisions"]] == ["forwarded", "held_back", "failed"]
    assert found["decisions"][2]["error"] == results[2]["error"]
    assert (await progress(adapter, after=found["cursor"]))["decisions"] == []
    assert (await progress(adapter))["decisions"] == []


async def test_progress_counts_by_rule_and_topic(adapter: Served) -> None:
    """The members of the other services are there, and empty."""
    await send(adapter, event(), event(), event("OrderPlaced"), "not an event")
    found = await progress(adapter)
    bridge = found["bridge"]
    assert bridge["counts"] == {"forwarded": 2, "held_back": 1, "failed": 1}
    assert (bridge["perMinute"], bridge["published"]) == (4, {"order-events": 2})
    assert bridge["topics"] == ["order-events", "scm-events"]
    assert bridge["rules"] == [
        {"rule": "completed-orders-to-scm", "decision": "forwarded", "count": 2},
        {"rule": "placed-is-not-paid", "decision": "held_back", "count": 1},
        {"rule": None, "decision": "failed", "count": 1},
    ]
    members = ("service", "relay", "listeners", "settled")
    assert [found[name] for name in members] == ["adapter", None, [], []]


async def test_faults_are_switched_by_an_operator(adapter: Served, aws: AwsClients) -> None:
    """The adapter refuses events, or publishes each of them several times under the same id."""
    url = await subscribe(aws, "order-events")
    none = {"refuses": False, "copies": 1}
    assert (await adapter.http.get("/faults", headers=OPERATOR)).json() == none
    switched = await adapter.http.put("/faults", json={"refuses": True}, headers=OPERATOR)
    assert switched.json() == {"refuses": True, "copies": 1}
    refused = await adapter.http.post("/events", json=[event()], headers=BATCH)
    assert refused.status_code == 503
    await adapter.http.put("/faults", json={"copies": 3}, headers=OPERATOR)
    given = event()
    [result] = await send(adapter, given)
    assert result["decision"] == "forwarded"
    ids = [each["MessageAttributes"]["ce-id"]["StringValue"] for each in await receive(aws, url)]
    assert ids == [given["id"]] * 3
    for wrong in ({"copies": 11}, {"copies": 0}, {"refuses": 1}, {"delay": 1}):
        assert (await adapter.http.put("/faults", json=wrong, headers=OPERATOR)).status_code == 422
    assert (await adapter.http.put("/faults", json=none)).status_code == 401

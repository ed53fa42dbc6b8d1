"""Drift: resources on an SNS/SQS server, compared with the bindings by their meaning."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from snsqs import AwsClients, QueueSettings, Topology
from snsqs.topology import Account

from tests.snsqs.queues import QUEUE, TOPIC
from tests.snsqs.test_topology import attributes_of, binding, subscriptions, watched, written

DEAD_LETTERS = f"{QUEUE}-dlq"

ACCOUNT = Account("us-east-1", "000000000000", "aws")
QUEUE_ARN, TOPIC_ARN = ACCOUNT.arn("sqs", QUEUE), ACCOUNT.arn("sns", TOPIC)

THE_TOPIC = {
    "Effect": "Allow",
    "Principal": {"Service": "sns.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": QUEUE_ARN,
    "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC_ARN}},
}
ONLY_TLS = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "sqs:*",
    "Resource": QUEUE_ARN,
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def policy(*statements: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


async def set_queue(aws: AwsClients, queue: str, attribute: str, value: str) -> None:
    url = (await aws.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
    attributes: Any = {attribute: value}
    await aws.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)


async def set_subscription(aws: AwsClients, attribute: str, value: str) -> None:
    [subscription] = await subscriptions(aws)
    await aws.sns.set_subscription_attributes(
        SubscriptionArn=subscription["SubscriptionArn"], AttributeName=attribute, AttributeValue=value
    )


ALL_SET = QueueSettings(
    visibility=30, max_receive_count=5, retention=345_600, dead_letter_retention=1_209_600
)


async def corrected(aws: AwsClients, settings: QueueSettings | None = None) -> list[str]:
    """Return the drift that is found before the next start of the service corrects it."""
    topology = Topology(aws, create=True, settings=settings)
    with written(aws) as calls:
        found = await topology.drift(binding())
    assert calls == [], "a report changes nothing"
    await topology.listener_queues(binding())
    assert await topology.drift(binding()) == []
    return found


@pytest.fixture
async def made(aws: AwsClients) -> AwsClients:
    """A server with all resources of the bindings."""
    await Topology(aws, create=True).listener_queues(binding())
    assert await Topology(aws, create=False).drift(binding()) == []
    return aws


async def test_all_missing_resources_are_named(aws: AwsClients) -> None:
    assert await corrected(aws) == [
        f"topic {TOPIC} is missing",
        "the queue is missing",
        f"dead-letter queue {DEAD_LETTERS} is missing",
        f"subscription to {TOPIC} is missing",
    ]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [(QUEUE, "the queue is missing"), (DEAD_LETTERS, f"dead-letter queue {DEAD_LETTERS} is missing")],
)
async def test_a_missing_queue_is_named(made: AwsClients, name: str, sentence: str) -> None:
    """And nothing else, although subscription and redrive policy refer to it."""
    await made.sqs.delete_queue(QueueUrl=(await made.sqs.get_queue_url(QueueName=name))["QueueUrl"])
    assert await corrected(made) == [sentence]


async def test_a_missing_topic_or_subscription_is_named(made: AwsClients) -> None:
    """Deleting a topic deletes its subscriptions."""
    [subscription] = await subscriptions(made)
    await made.sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    assert await corrected(made) == [f"subscription to {TOPIC} is missing"]
    await made.sns.delete_topic(TopicArn=TOPIC_ARN)
    assert await corrected(made) == [f"topic {TOPIC} is missing", f"subscription to {TOPIC} is missing"]


@pytest.mark.parametrize(
    ("queue", "attribute", "value", "sentence"),
    [
        (QUEUE, "VisibilityTimeout", "10", "VisibilityTimeout is 10 s, not 30 s"),
        (QUEUE, "MessageRetentionPeriod", "60", "MessageRetentionPeriod is 60 s, not 345600 s"),
        (
            DEAD_LETTERS,
            "MessageRetentionPeriod",
            "60",
            f"dead-letter queue {DEAD_LETTERS}: MessageRetentionPeriod is 60 s, not 1209600 s",
        ),
        (
            QUEUE,
            "RedrivePolicy",
            json.dumps({"deadLetterTargetArn": f"{QUEUE_ARN}-dlq", "maxReceiveCount": 50}),
            "redrive policy has maxReceiveCount 50, not 5",
        ),
        (
            QUEUE,
            "RedrivePolicy",
            json.dumps({"deadLetterTargetArn": QUEUE_ARN, "maxReceiveCount": 5}),
            f"redrive policy has deadLetterTargetArn {QUEUE_ARN}, not {QUEUE_ARN}-dlq",
        ),
        (
            QUEUE,
            "RedrivePolicy",
            "",
            "no redrive policy: a message that fails is received again for as long as it is retained",
        ),
    ],
)
async def test_a_queue_that_differs_is_reported_and_corrected(
    made: AwsClients, queue: str, attribute: str, value: str, sentence: str
) -> None:
    """Visibility, retention, redrive policy."""
    await set_queue(made, queue, attribute, value)
    assert await corrected(made, ALL_SET) == [sentence]


@pytest.mark.parametrize(
    ("attribute", "value", "sentences"),
    [
        ("RawMessageDelivery", "false", ["raw message delivery is off"]),
        ("FilterPolicyScope", "MessageBody", ["FilterPolicyScope is MessageBody, not MessageAttributes"]),
        ("FilterPolicy", '{"ce-type": ["Painted"]}', ["filter policy lacks Sold"]),
        (
            "FilterPolicy",
            '{"ce-type": ["Torn", "Sold", "Painted", "Burnt"]}',
            ["filter policy has Burnt, Torn, which no handler accepts"],
        ),
        (
            "FilterPolicy",
            '{"ce-type": [{"prefix": "Pain"}, "Sold"], "ce-source": ["order"]}',
            [
                "filter policy lacks Painted",
                'filter policy has {"prefix": "Pain"}, which no handler accepts',
                "filter policy filters by ce-source too",
            ],
        ),
        ("FilterPolicy", "{}", ["no filter policy: every event type of the topic is delivered"]),
    ],
)
async def test_a_subscription_that_differs_is_reported_and_corrected(
    made: AwsClients, attribute: str, value: str, sentences: list[str]
) -> None:
    """Additional and missing event types are named."""
    await set_subscription(made, attribute, value)
    assert await corrected(made) == sentences


LACKING = f"queue policy lacks {json.dumps(THE_TOPIC)}"


@pytest.mark.parametrize(
    ("besides", "sentence"),
    [
        ({"Principal": "*"}, "queue policy allows more than the topic"),
        (
            {"Principal": {"AWS": "arn:aws:iam::111122223333:root"}},
            "queue policy allows more than the topic",
        ),
        ({"Action": "sqs:*"}, "queue policy allows more than the topic"),
        ({"Condition": {}}, "queue policy allows more than the topic"),
        (
            {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:*"}}},
            "queue policy allows more than",
        ),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": [TOPIC_ARN, "other"]}}}, "queue policy allows more"),
        ({"Effect": "Deny", "Principal": "*"}, "queue policy has a Deny statement"),
    ],
)
async def test_a_policy_that_differs_is_reported_and_corrected(
    made: AwsClients, besides: dict[str, object], sentence: str
) -> None:
    """Additional statements, and one that replaces the topic's permission."""
    other = {**THE_TOPIC, **besides}
    await set_queue(made, QUEUE, "Policy", policy(THE_TOPIC, other))
    [found] = await corrected(made)
    assert found.startswith(sentence)
    assert found.endswith(json.dumps(other))
    await set_queue(made, QUEUE, "Policy", policy(other))
    assert await corrected(made) == [LACKING, found]


async def test_a_queue_without_a_policy_is_reported_and_corrected(made: AwsClients) -> None:
    """No message would be delivered."""
    await set_queue(made, QUEUE, "Policy", "")
    assert await corrected(made) == [LACKING]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (
            "Policy",
            policy(
                {
                    "Sid": "topic-subscription",
                    "Condition": {"ArnLike": {"AWS:SourceArn": [TOPIC_ARN]}},
                    "Resource": [QUEUE_ARN],
                    "Action": ["SQS:SendMessage"],
                    "Principal": {"Service": ["sns.amazonaws.com"]},
                    "Effect": "Allow",
                }
            ),
        ),
        ("Policy", json.dumps({"Statement": THE_TOPIC, "Version": "2008-10-17", "Id": "it"})),
        ("Policy", policy(ONLY_TLS, THE_TOPIC)),
        ("Policy", policy({**THE_TOPIC, "Condition": {"StringEquals": {"aws:SourceArn": TOPIC_ARN}}})),
        (
            "RedrivePolicy",
            json.dumps({"maxReceiveCount": "5", "deadLetterTargetArn": f"{QUEUE_ARN}-dlq"}),
        ),
    ],
)
async def test_another_spelling_is_no_drift(made: AwsClients, attribute: str, value: str) -> None:
    """AWS and infrastructure tools spell policies differently. It is neither reported nor rewritten."""
    await set_queue(made, QUEUE, attribute, value)
    await set_subscription(made, "FilterPolicy", '{ "ce-type" : ["Sold", "Painted"] }')
    with written(made) as calls:
        assert await Topology(made, create=False).drift(binding()) == []
        await Topology(made, create=True).listener_queues(binding())
    assert calls == []


async def test_a_rule_that_requires_tls_survives_a_correction(made: AwsClients) -> None:
    """It does not come from the handlers."""
    await set_queue(made, QUEUE, "Policy", policy(ONLY_TLS, {**THE_TOPIC, "Principal": "*"}))
    assert len(await corrected(made)) == 2
    attributes = await attributes_of(made, QUEUE)
    assert json.loads(attributes["Policy"])["Statement"] == [THE_TOPIC, ONLY_TLS]


@pytest.mark.parametrize(
    ("attribute", "sentences"),
    [("FilterPolicyScope", []), ("RawMessageDelivery", ["raw message delivery is off"])],
)
async def test_omitted_attributes_have_their_defaults(
    made: AwsClients, attribute: str, sentences: list[str]
) -> None:
    """AWS and local servers omit attributes that were never set."""

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        del parsed["Attributes"][attribute]

    with watched(made, "after-call.sns.GetSubscriptionAttributes", leave_out):
        assert await Topology(made, create=False).drift(binding()) == sentences

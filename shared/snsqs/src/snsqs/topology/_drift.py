"""Drift: where what exists is not what the bindings ask for."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from snsqs.headers import TYPE
from snsqs.topology._desired import Account, Desired
from snsqs.topology._queue_policy import policy_drift

Attributes = Mapping[str, str]
"""As SNS and SQS answer them; they may say more than was asked for."""

Name = TypeVar("Name", bound=str)

# What holds when SNS does not mention an attribute: AWS leaves the scope away while there is no filter
# policy, and local servers leave away what was never set, or what they do not implement and so never change.
_UNMENTIONED = {"RawMessageDelivery": "false", "FilterPolicyScope": "MessageAttributes"}


@dataclass(frozen=True)
class Existing:
    """What SNS and SQS hold of one binding; None where there is nothing."""

    account: Account
    topic_arn: str | None
    queue: Attributes | None
    dead_letter_queue: Attributes | None
    subscription: Attributes | None


def drift(desired: Desired, existing: Existing) -> list[str]:
    """A sentence for each thing that is missing or different, none when all is as desired."""
    topic, dead_letters = desired.binding.topic, f"dead-letter queue {desired.binding.dead_letter_queue}"
    return [
        *([] if existing.topic_arn else [f"topic {topic} is missing"]),
        *_part("the queue is missing", desired.queue, existing.queue),
        *_part(
            f"{dead_letters} is missing",
            desired.dead_letter_queue,
            existing.dead_letter_queue,
            f"{dead_letters}: ",
        ),
        *_part(f"subscription to {topic} is missing", desired.subscription, existing.subscription),
    ]


def differences(wanted: Mapping[Name, str], found: Attributes) -> dict[Name, list[str]]:
    """The wanted attributes that are not as wanted, in the order of `wanted`, each with what is wrong."""
    compared = {
        name: _COMPARE.get(name, _plain(name))(value, found.get(name, _UNMENTIONED.get(name, "")))
        for name, value in wanted.items()
    }
    return {name: sentences for name, sentences in compared.items() if sentences}


def _part(missing: str, wanted: Mapping[Name, str], found: Attributes | None, prefix: str = "") -> list[str]:
    if found is None:
        return [missing]
    return [prefix + each for sentences in differences(wanted, found).values() for each in sentences]


def _plain(name: str) -> Callable[[str, str], list[str]]:
    unit = " s" if name in ("VisibilityTimeout", "MessageRetentionPeriod") else ""

    def compare(wanted: str, found: str) -> list[str]:
        return [] if found == wanted else [f"{name} is {found or 'not set'}{unit}, not {wanted}{unit}"]

    return compare


def _raw_delivery(wanted: str, found: str) -> list[str]:
    return [] if found == wanted else ["raw message delivery is off"]


def _redrive_policy(wanted: str, found: str) -> list[str]:
    """SQS takes and answers the count as a number or as text."""
    if not found:
        return ["no redrive policy: a message that fails is received again for as long as it is retained"]
    asked, given = json.loads(wanted), json.loads(found)
    return [
        f"redrive policy has {key} {given.get(key)}, not {asked[key]}"
        for key in asked
        if str(given.get(key)) != str(asked[key])
    ]


def _filter_policy(wanted: str, found: str) -> list[str]:
    """Names the event types. A rule that is no plain value, such as a prefix, is given as JSON."""
    asked, given = json.loads(wanted), json.loads(found or "{}")
    if not given:
        return ["no filter policy: every event type of the topic comes in"]
    types, filtered = set(asked[TYPE]), {_rule(each) for each in given.get(TYPE, [])}
    lacking, besides = sorted(types - filtered), sorted(filtered - types)
    return [
        *([f"filter policy lacks {', '.join(lacking)}"] if lacking else []),
        *([f"filter policy has {', '.join(besides)}, which no handler takes"] if besides else []),
        *[f"filter policy filters by {key} too" for key in sorted(given) if key not in asked],
    ]


def _rule(rule: Any) -> str:
    return rule if isinstance(rule, str) else json.dumps(rule)


_COMPARE: dict[str, Callable[[str, str], list[str]]] = {
    "FilterPolicy": _filter_policy,
    "Policy": policy_drift,
    "RawMessageDelivery": _raw_delivery,
    "RedrivePolicy": _redrive_policy,
}

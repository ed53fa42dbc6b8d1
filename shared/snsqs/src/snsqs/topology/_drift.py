"""Drift: differences between existing resources and the desired ones."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from snsqs.headers import TYPE
from snsqs.topology._desired import Desired
from snsqs.topology._existing import Attributes, Existing
from snsqs.topology._queue_policy import policy_drift

Name = TypeVar("Name", bound=str)

# Values of attributes that SNS does not return: AWS omits the scope while there is no filter policy, and
# local servers omit attributes that were never set, or that they do not implement and so never change.
_DEFAULTS = {"RawMessageDelivery": "false", "FilterPolicyScope": "MessageAttributes"}


def drift(existing: Existing) -> list[str]:
    """Return a sentence for each resource that is missing and each attribute that differs. Of a queue of
    another account only set settings are compared, not its policy: that allows this account to receive."""
    desired = existing.desired
    dead_letters = f"dead-letter queue {desired.binding.dead_letter_queue}"
    found = existing.queue_attributes
    topics = [f"topic {topic} is missing" for topic, arn in existing.topic_arns.items() if arn is None]
    if existing.is_foreign:
        missing = [f"{dead_letters} is missing"] if existing.dead_letter_queue is None else []
        subscriptions = _subscriptions(desired.subscriptions, existing.subscriptions)
        return [*topics, *set_differences(existing), *missing, *subscriptions]
    return [
        *topics,
        *_part("the queue is missing", desired.existing_queue(found or {}), found),
        *_tags(desired, existing.tags),
        *_part(
            f"{dead_letters} is missing",
            desired.existing_dead_letter_queue,
            existing.dead_letter_attributes,
            f"{dead_letters}: ",
        ),
        *_tags(desired, existing.dead_letter_tags, f"{dead_letters}: "),
        *_subscriptions(desired.subscriptions, existing.subscriptions),
    ]


def set_differences(existing: Existing) -> list[str]:
    """Return a sentence for each difference between the settings and the existing queues. Other differences,
    and settings that are not set, make no difference."""
    desired = existing.desired
    settings, dead_letters = desired.settings, f"dead-letter queue {desired.binding.dead_letter_queue}: "
    values = {
        "VisibilityTimeout": settings.visibility,
        "MessageRetentionPeriod": settings.retention,
        "KmsMasterKeyId": settings.kms_key,
        "RedrivePolicy": settings.max_receive_count or settings.dead_letter_queue,
    }
    found = existing.queue_attributes
    queue = {str(name): value for name, value in desired.existing_queue(found or {}).items()}
    return [
        *_differences({name: queue[name] for name in values if values[name] is not None}, found),
        *_tags(desired, existing.tags),
        *_differences(desired.existing_dead_letter_queue, existing.dead_letter_attributes, dead_letters),
        *_tags(desired, existing.dead_letter_tags, dead_letters),
    ]


def _tags(desired: Desired, found: Mapping[str, str] | None, prefix: str = "") -> list[str]:
    if found is None:
        return []
    return [
        f"{prefix}tag {key} is {found.get(key, 'not set')}, not {value}"
        for key, value in desired.tags.items()
        if found.get(key) != value
    ]


def _subscriptions(
    desired: Mapping[str, Mapping[str, str]], existing: Mapping[str, Attributes | None]
) -> list[str]:
    """The sentences name the topic if there are several."""
    return [
        sentence
        for topic, attributes in desired.items()
        for sentence in _part(
            f"subscription to {topic} is missing",
            attributes,
            existing[topic],
            f"subscription to {topic}: " if len(desired) > 1 else "",
        )
    ]


def differences(desired: Mapping[Name, str], found: Attributes) -> dict[Name, list[str]]:
    """Return the differences of each attribute that differs, in the order of `desired`."""
    compared = {
        name: _COMPARE.get(name, _plain(name))(value, found.get(name, _DEFAULTS.get(name, "")))
        for name, value in desired.items()
    }
    return {name: sentences for name, sentences in compared.items() if sentences}


def _part(missing: str, desired: Mapping[Name, str], found: Attributes | None, prefix: str = "") -> list[str]:
    return [missing] if found is None else _differences(desired, found, prefix)


def _differences(desired: Mapping[Name, str], found: Attributes | None, prefix: str = "") -> list[str]:
    changed = differences(desired, found).values() if found is not None else ()
    return [prefix + each for sentences in changed for each in sentences]


def _plain(name: str) -> Callable[[str, str], list[str]]:
    unit = " s" if name in ("VisibilityTimeout", "MessageRetentionPeriod") else ""

    def compare(desired: str, found: str) -> list[str]:
        return [] if found == desired else [f"{name} is {found or 'not set'}{unit}, not {desired}{unit}"]

    return compare


def _raw_delivery(desired: str, found: str) -> list[str]:
    return [] if found == desired else ["raw message delivery is off"]


def _redrive_policy(desired: str, found: str) -> list[str]:
    """SQS accepts and returns the count as a number or as text."""
    if not found:
        return ["no redrive policy: a message that fails is received again for as long as it is retained"]
    expected, actual = json.loads(desired), json.loads(found)
    return [
        f"redrive policy has {key} {actual.get(key)}, not {expected[key]}"
        for key in expected
        if str(actual.get(key)) != str(expected[key])
    ]


def _filter_policy(desired: str, found: str) -> list[str]:
    """Compare event types. A rule that is not a plain value, such as a prefix, is shown as JSON."""
    expected, actual = json.loads(desired), json.loads(found or "{}")
    if not actual:
        return ["no filter policy: every event type of the topic is delivered"]
    types, filtered = set(expected[TYPE]), {_rule(each) for each in actual.get(TYPE, [])}
    lacking, besides = sorted(types - filtered), sorted(filtered - types)
    return [
        *([f"filter policy lacks {', '.join(lacking)}"] if lacking else []),
        *([f"filter policy has {', '.join(besides)}, which no handler accepts"] if besides else []),
        *[f"filter policy filters by {key} too" for key in sorted(actual) if key not in expected],
    ]


def _rule(rule: Any) -> str:
    return rule if isinstance(rule, str) else json.dumps(rule)


_COMPARE: dict[str, Callable[[str, str], list[str]]] = {
    "FilterPolicy": _filter_policy,
    "Policy": policy_drift,
    "RawMessageDelivery": _raw_delivery,
    "RedrivePolicy": _redrive_policy,
}

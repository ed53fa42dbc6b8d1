"""Summary of a service's progress over all of its instances."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar

from shared.operations.progress import (
    BridgeProgress,
    ListenerProgress,
    Pace,
    RelayProgress,
    RuleCount,
    ServiceProgress,
)

T = TypeVar("T")


def summary(parts: Sequence[ServiceProgress]) -> ServiceProgress:
    """Return the progress of a service from that of at least one instance each: counts and rates are sums;
    figures that are read from the shared database are those of the first instance that has them.

    `settled` and `decisions` are empty: they belong to one instance.
    """
    listeners = _grouped((each for part in parts for each in part.listeners), lambda each: each.queue)
    return ServiceProgress(
        service=parts[0].service,
        trouble=_first(part.trouble for part in parts),
        relay=_relay([part.relay for part in parts if part.relay]),
        listeners=[_listener(group) for group in listeners],
        settled=[],
        bridge=_bridge([part.bridge for part in parts if part.bridge]),
        missed=0,
        cursor="",
    )


def _relay(parts: Sequence[RelayProgress]) -> RelayProgress | None:
    if not parts:
        return None
    return RelayProgress(
        trouble=_first(each.trouble for each in parts),
        waiting=_first(each.waiting for each in parts),
        oldest_seconds=_first(each.oldest_seconds for each in parts),
        parked=_first(each.parked for each in parts),
        **_pace(parts),
    )


def _listener(parts: Sequence[ListenerProgress]) -> ListenerProgress:
    return parts[0].model_copy(
        update={
            "trouble": _first(each.trouble for each in parts),
            "is_paused": any(each.is_paused for each in parts),
            "in_flight": sum(each.in_flight for each in parts),
            "buffered": sum(each.buffered for each in parts),
            **_pace(parts),
        }
    )


def _bridge(parts: Sequence[BridgeProgress]) -> BridgeProgress | None:
    if not parts:
        return None
    rules = Counter[tuple[str | None, str]]()
    for rule in chain.from_iterable(each.rules for each in parts):
        rules[rule.rule, rule.decision] += rule.count
    return BridgeProgress(
        rules=[
            RuleCount(rule=rule, decision=decision, count=count)
            for (rule, decision), count in rules.most_common()
        ],
        published=_sum(each.published for each in parts),
        topics=sorted({topic for each in parts for topic in each.topics}),
        **_pace(parts),
    )


def _pace(parts: Sequence[Pace]) -> dict[str, Any]:
    return {
        "counts": _sum(each.counts for each in parts),
        "per_second": sum(each.per_second for each in parts),
        "per_minute": sum(each.per_minute for each in parts),
    }


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for each in counts:
        total.update(each)
    return dict(total)


def _first(values: Iterable[T | None]) -> T | None:
    return next((each for each in values if each is not None), None)


def _grouped(items: Iterable[T], key: Callable[[T], str]) -> list[list[T]]:
    groups: dict[str, list[T]] = {}
    for each in items:
        groups.setdefault(key(each), []).append(each)
    return list(groups.values())

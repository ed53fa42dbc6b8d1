"""DryRun: what a changed route file would do to events that really happened."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.explanation import Outcome, fields
from services.adapter.routes.finding import Finding
from services.adapter.routes.route import Decision, RouteFailed, Routes
from shared.domain_event import WireModel


class Verdict(WireModel):
    """What one file decides about an event."""

    decision: Outcome
    rule: str | None
    topic: str | None = None
    error: str | None = None


class Change(WireModel):
    """An event that would go another way, or leave with other content."""

    id: str
    source: str
    type: str
    order_id: str
    before: Verdict
    after: Verdict
    added: list[str]
    """Fields that leave only after the change: `source.memo`."""
    removed: list[str]
    changed: list[str]
    """Fields that leave with another value."""


class Counts(WireModel):
    events: int
    changed: int
    before: dict[Outcome, int]
    after: dict[Outcome, int]


class DryRun(WireModel):
    """Of a file with errors nothing is tried."""

    changes: Sequence[Change] = ()
    counts: Counts | None = None
    errors: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()


def dry_run(before: Routes, after: Routes, events: Sequence[CloudEvent]) -> DryRun:
    """It publishes nothing."""
    tried = [(event, _verdict(before, event), _verdict(after, event)) for event in events]
    changes = [_change(event, old, new) for event, old, new in tried if old != new]
    return DryRun(
        changes=changes,
        counts=Counts(
            events=len(events),
            changed=len(changes),
            before=_counted(old for _, (old, _), _ in tried),
            after=_counted(new for _, _, (new, _) in tried),
        ),
    )


Tried = tuple[Verdict, dict[str, Any]]
"""A verdict, and the domain event that leaves by it; empty where none does."""


def _verdict(routes: Routes, event: CloudEvent) -> Tried:
    try:
        decision = routes.decide(event)
    except RouteFailed as error:
        return Verdict(decision="failed", rule=error.rule, error=str(error)), {}
    return Verdict(decision=_outcome(decision), rule=decision.rule, topic=decision.topic), decision.data or {}


def _outcome(decision: Decision) -> Outcome:
    return "held_back" if decision.topic is None else "forwarded"


def _change(event: CloudEvent, old: Tried, new: Tried) -> Change:
    (before, left), (after, leaves) = old, new
    was, will_be = _by_path(left), _by_path(leaves)
    return Change(
        id=event.id,
        source=event.source,
        type=event.type,
        order_id=event.subject,
        before=before,
        after=after,
        added=[path for path in will_be if path not in was],
        removed=[path for path in was if path not in will_be],
        changed=[path for path in was if path in will_be and was[path] != will_be[path]],
    )


def _by_path(data: dict[str, Any]) -> dict[str, list[Any]]:
    found = defaultdict[str, list[Any]](list)
    for path, value in fields(data["source"], "source") if data else ():
        found[path].append(value)
    return found


def _counted(verdicts: Iterable[Verdict]) -> dict[Outcome, int]:
    counts = Counter(verdict.decision for verdict in verdicts)
    return {outcome: counts[outcome] for outcome in ("forwarded", "held_back", "failed")}

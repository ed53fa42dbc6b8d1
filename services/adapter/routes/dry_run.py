"""DryRun: what a changed route file would do to events that really happened."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from snsqs import WireModel

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.explanation import fields
from services.adapter.routes.finding import Finding
from services.adapter.routes.route import Routes
from services.adapter.routes.verdict import Judged, Outcome, Verdict, judge


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
    tried = [(event, judge(before, event), judge(after, event)) for event in events]
    changes = [
        _change(event, old, new)
        for event, old, new in tried
        if (old.verdict, old.data) != (new.verdict, new.data)
    ]
    counts = Counts(
        events=len(events),
        changed=len(changes),
        before=_counted(old for _, old, _ in tried),
        after=_counted(new for _, _, new in tried),
    )
    return DryRun(changes=changes, counts=counts)


def _change(event: CloudEvent, old: Judged, new: Judged) -> Change:
    was, will_be = _by_path(old.data), _by_path(new.data)
    return Change(
        id=event.id,
        source=event.source,
        type=event.type,
        order_id=event.subject,
        before=old.verdict,
        after=new.verdict,
        added=[path for path in will_be if path not in was],
        removed=[path for path in was if path not in will_be],
        changed=[path for path in was if path in will_be and was[path] != will_be[path]],
    )


def _by_path(data: dict[str, Any] | None) -> dict[str, list[Any]]:
    found = defaultdict[str, list[Any]](list)
    for path, value in fields(data["source"], "source") if data else ():
        found[path].append(value)
    return found


def _counted(judged: Iterable[Judged]) -> dict[Outcome, int]:
    counts = Counter(each.verdict.decision for each in judged)
    return {outcome: counts[outcome] for outcome in ("forwarded", "held_back", "failed")}

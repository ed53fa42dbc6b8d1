"""DryRun: the effect that a changed route file would have had on recorded events."""

from collections import Counter
from collections.abc import Iterable, Sequence

from snsqs import WireModel

from services.adapter.cloud_event import CloudEvent
from services.adapter.routes.explanation import Evaluation, field_paths, outgoing_message
from services.adapter.routes.finding import Finding
from services.adapter.routes.route import Decision, Outcome, Routes


class Change(WireModel):
    """Event that would be decided differently, or leave with other fields."""

    id: str
    source: str
    type: str
    order_id: str
    before: Evaluation
    after: Evaluation
    added: list[str]
    """Fields that leave only after the change: `source.memo`."""
    removed: list[str]


class Counts(WireModel):
    events: int
    changed: int
    before: dict[Outcome, int]
    after: dict[Outcome, int]


class DryRun(WireModel):
    """Result of a dry run; a file with errors has no changes and no counts."""

    changes: Sequence[Change] = ()
    counts: Counts | None = None
    errors: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()


def dry_run(before: Routes, after: Routes, events: Sequence[CloudEvent]) -> DryRun:
    """Evaluate the events with both routes, and return the differences. Publishes nothing."""
    evaluated = [(before.evaluate(event), after.evaluate(event)) for event in events]
    changes = [change for old, new in evaluated if (change := _change(old, new))]
    counts = Counts(
        events=len(events),
        changed=len(changes),
        before=_counts(old for old, _ in evaluated),
        after=_counts(new for _, new in evaluated),
    )
    return DryRun(changes=changes, counts=counts)


def _change(old: Decision, new: Decision) -> Change | None:
    before, after = Evaluation.model_validate(old), Evaluation.model_validate(new)
    was, will_be = _outgoing_paths(old), _outgoing_paths(new)
    if before == after and was == will_be:
        return None
    return Change(
        id=old.id,
        source=old.source,
        type=old.type,
        order_id=old.order_id,
        before=before,
        after=after,
        added=[path for path in will_be if path not in was],
        removed=[path for path in was if path not in will_be],
    )


def _outgoing_paths(decision: Decision) -> dict[str, None]:
    """Return the paths as an ordered set."""
    outgoing = outgoing_message(decision)
    return dict.fromkeys(field_paths(outgoing.body["source"])) if outgoing else {}


def _counts(decisions: Iterable[Decision]) -> dict[Outcome, int]:
    counts = Counter(decision.decision for decision in decisions)
    return {outcome: counts[outcome] for outcome in ("forwarded", "held_back", "failed")}

"""Proof: what a replay sent, and whether the state of its consumers changed."""

from collections.abc import Iterable

from pydantic import BaseModel, Field
from snsqs import WireModel

from shared.operations.checksum import StateChecksum
from shared.operations.reconciliation import Consumed


class DecisionCount(BaseModel):
    """Number of events of a type that the present routes decided in the same way; in a dry run, would."""

    model_config = {**WireModel.model_config, "frozen": False}

    type: str
    decision: str
    rule: str | None
    events: int = 0


def count_decision(counts: list[DecisionCount], event_type: str, decision: str, rule: str | None) -> None:
    """Add one event to the counts."""
    about = (event_type, decision, rule)
    for counted in counts:
        if (counted.type, counted.decision, counted.rule) == about:
            counted.events += 1
            return
    counts.append(DecisionCount(type=event_type, decision=decision, rule=rule, events=1))


class Deliveries(WireModel):
    """Outcomes of deliveries at the consumers' inboxes."""

    absorbed: int = 0
    """Duplicates, without effect."""
    superseded: int = 0
    """No longer recorded, but older than the consumer's version of the order: without effect."""
    handled: int = 0
    """Not recorded: handled like new messages."""

    @classmethod
    def total_of(cls, consumed: Iterable[Consumed]) -> "Deliveries":
        """Sum up the queues."""
        absorbed, superseded, handled = 0, 0, 0
        for each in consumed:
            absorbed += each.duplicates
            superseded += each.superseded
            handled += each.handled
        return cls(absorbed=absorbed, superseded=superseded, handled=handled)

    @property
    def total(self) -> int:
        return self.absorbed + self.superseded + self.handled

    def since(self, before: "Deliveries") -> "Deliveries":
        """Return the difference, at least 0: records may have expired in between."""
        return Deliveries(
            absorbed=max(0, self.absorbed - before.absorbed),
            superseded=max(0, self.superseded - before.superseded),
            handled=max(0, self.handled - before.handled),
        )


class TableChange(WireModel):
    """A table whose checksum changed."""

    table: str
    rows_before: int
    rows_after: int


class State(WireModel):
    """Checksums of a consuming service before and after; null until they are known."""

    service: str
    checksum_before: str
    checksum_after: str | None = None
    changed: list[TableChange] = Field(default_factory=list)

    @classmethod
    def compared(cls, service: str, before: StateChecksum, after: StateChecksum) -> "State":
        return cls(
            service=service,
            checksum_before=before.checksum,
            checksum_after=after.checksum,
            changed=_changes(before, after),
        )


class Proof(BaseModel):
    """State of the evidence; it grows while the replay runs."""

    model_config = {**WireModel.model_config, "frozen": False}

    tallies: list[DecisionCount] = Field(default_factory=list)
    held_back: int = 0
    """Selected, but held back by the present routes."""
    states: list[State] = Field(default_factory=list)
    """One per consuming service; none in a dry run."""
    unchecked: list[str] = Field(default_factory=list)
    """Consumers whose state could not be compared, and the reason."""
    under_way: int = 0
    """Messages in the consumers' queues when it began; they change the state too."""
    outstanding: int | None = None
    """Deliveries that are not settled yet; null until everything is sent."""
    absorbed: int = 0
    superseded: int = 0
    handled: int = 0
    unchanged: bool | None = None
    """Whether no state changed; null while that is not known, and where it cannot be known: in a dry run,
    when it was cancelled, when deliveries are outstanding or a consumer is unchecked, when no service
    listens."""

    def count(self, event_type: str, decision: str, rule: str | None) -> None:
        """Count the decision about one event."""
        self.held_back += decision == "held_back"
        count_decision(self.tallies, event_type, decision, rule)

    def settle(self, deliveries: Deliveries, sent: int) -> None:
        """Update the outcomes of the `sent` deliveries."""
        self.outstanding = max(0, sent - deliveries.total)
        self.absorbed, self.superseded = deliveries.absorbed, deliveries.superseded
        self.handled = deliveries.handled

    def conclude(self, waited: float) -> str | None:
        """Set `unchanged`. Return why that is not proven, or None. `waited` is in seconds."""
        changed = {each.service: each.changed for each in self.states if each.changed}
        is_known = bool(self.states) and not self.outstanding and not self.unchecked
        self.unchanged = False if changed else True if is_known else None
        reasons = [
            f"{service} changed: {', '.join(table.table for table in tables)}"
            for service, tables in changed.items()
        ]
        if changed and self.under_way:
            reasons.append(f"messages that were under way when it began: {self.under_way}")
        if self.outstanding:
            reasons.append(
                f"not settled: {self.outstanding} deliveries outstanding, none came for {waited:g} s"
            )
        if self.unchecked:
            reasons.append(f"not checked: {', '.join(self.unchecked)}")
        if not self.states:
            reasons.append("none of the services listens to such events")
        return "; ".join(reasons) or None


def _changes(before: StateChecksum, after: StateChecksum) -> list[TableChange]:
    """Return the tables that differ; a missing table has no rows."""
    old = {each.table: each for each in before.tables}
    new = {each.table: each for each in after.tables}
    return [
        TableChange(
            table=table,
            rows_before=old[table].rows if table in old else 0,
            rows_after=new[table].rows if table in new else 0,
        )
        for table in sorted(old.keys() | new.keys())
        if old.get(table) != new.get(table)
    ]

"""Proof: what a replay sent, and that the state of those who heard it is the same as before."""

from collections.abc import Iterable

from pydantic import BaseModel, Field
from snsqs import WireModel

from shared.operations.checksum import StateChecksum
from shared.operations.reconciliation import Consumed


class Tally(BaseModel):
    """How many events of a type the present routes decided about like this; in a dry run, would."""

    model_config = {**WireModel.model_config, "frozen": False}

    type: str
    decision: str
    rule: str | None
    events: int = 0


class Deliveries(WireModel):
    """What the consumers' inboxes did with deliveries."""

    absorbed: int = 0
    """Known already, and without any effect."""
    superseded: int = 0
    """Not known any more, but older than what the consumer has of the order: without any effect."""
    handled: int = 0
    """Not known: handled as if they had never been sent."""

    @classmethod
    def of(cls, consumed: Iterable[Consumed]) -> "Deliveries":
        """Of all queues together."""
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
        """Those in between. Records that expired meanwhile are not counted backwards."""
        return Deliveries(
            absorbed=max(0, self.absorbed - before.absorbed),
            superseded=max(0, self.superseded - before.superseded),
            handled=max(0, self.handled - before.handled),
        )


class TableChange(WireModel):
    """A table that is not as it was."""

    table: str
    rows_before: int
    rows_after: int


class State(WireModel):
    """What a service that consumes the events had stored before and after; null until it is known."""

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
    """Grows while the replay runs: states, tallies, deliveries, and in the end what it proves."""

    model_config = {**WireModel.model_config, "frozen": False}

    tallies: list[Tally] = Field(default_factory=list)
    held_back: int = 0
    """Selected, but the present routes keep them here, so they were not sent."""
    states: list[State] = Field(default_factory=list)
    """One of each service that consumes such events; none in a dry run."""
    under_way: int = 0
    """Messages that were in the consumers' queues when it began. They change the state too."""
    outstanding: int | None = None
    """Deliveries that the consumers have not settled yet; null until everything is sent."""
    absorbed: int = 0
    superseded: int = 0
    handled: int = 0
    unchanged: bool | None = None
    """Whether no state changed; null while that is not known, and where it cannot be known: in a dry run,
    when it was cancelled, when deliveries are outstanding, when no service listens."""

    def count(self, event_type: str, decision: str, rule: str | None) -> None:
        """One more event that was decided about."""
        self.held_back += decision == "held_back"
        about = (event_type, decision, rule)
        for tally in self.tallies:
            if (tally.type, tally.decision, tally.rule) == about:
                tally.events += 1
                return
        self.tallies.append(Tally(type=event_type, decision=decision, rule=rule, events=1))

    def settle(self, deliveries: Deliveries, sent: int) -> None:
        """So much has come of the deliveries that were sent."""
        self.outstanding = max(0, sent - deliveries.total)
        self.absorbed, self.superseded = deliveries.absorbed, deliveries.superseded
        self.handled = deliveries.handled

    def conclude(self, waited: float) -> str | None:
        """What is proven. Returns why it is not what was hoped for, or None. `waited` is seconds."""
        changed = {each.service: each.changed for each in self.states if each.changed}
        is_known = bool(self.states) and not self.outstanding
        self.unchanged = False if changed else True if is_known else None
        said = [
            f"{service} changed: {', '.join(table.table for table in tables)}"
            for service, tables in changed.items()
        ]
        if changed and self.under_way:
            said.append(f"messages that were under way when it began: {self.under_way}")
        if self.outstanding:
            said.append(f"not settled: {self.outstanding} deliveries outstanding, none came for {waited:g} s")
        if not self.states:
            said.append("none of the services listens to such events")
        return "; ".join(said) or None


def _changes(before: StateChecksum, after: StateChecksum) -> list[TableChange]:
    """Rows of a table that is not there count as none."""
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

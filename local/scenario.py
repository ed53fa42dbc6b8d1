"""Scenario: one order of the demo, the steps taken with it, its events as they happen, and its checks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class OrderState:
    """An order as both services report it over REST."""

    order: Json
    """Order, `/orders/{id}`."""
    order_events: Json
    """Order, `/orders/{id}/events`: events `published`, and SCM's events `received`."""
    fulfilment: Json | None
    """SCM, `/orders/{id}`; None while SCM does not know the order."""
    scm_events: Json
    """SCM, `/orders/{id}/events`."""

    @property
    def status(self) -> str:
        return str(self.order["status"])

    @property
    def invoices(self) -> list[Json]:
        """All invoices of the order, void ones included, oldest first."""
        return self.fulfilment["invoices"] if self.fulfilment else []

    @property
    def live_invoices(self) -> list[Json]:
        return [invoice for invoice in self.invoices if invoice["status"] != "VOID"]

    @property
    def purchase_orders(self) -> list[Json]:
        return self.fulfilment["purchaseOrders"] if self.fulfilment else []

    @property
    def decisions(self) -> set[str | None]:
        """Decisions of the adapter on the order's own events; None for an event that waits."""
        return {event["decision"] for event in self.order_events["published"]}

    @property
    def event_types(self) -> list[str]:
        """Types of the order's own events."""
        return [event["type"] for event in self.order_events["published"]]

    @property
    def replies(self) -> list[str]:
        """Types of SCM's events that the Order service has handled."""
        return [message["type"] for message in self.order_events["received"]]

    @property
    def is_quiet(self) -> bool:
        """True when the adapter has decided on every event, and the other side has handled all that it
        forwarded."""
        return bool(self.order_events["published"]) and all(
            event["decision"] == "held_back" or (event["decision"] and _is_received(event, other))
            for side, other in (
                (self.order_events, self.scm_events),
                (self.scm_events, self.order_events),
            )
            for event in side["published"]
        )


def _is_received(event: Json, side: Json) -> bool:
    return event["id"] in (message["messageId"] for message in side["received"])


Condition = Callable[[OrderState], bool]


@dataclass(frozen=True)
class Step:
    """A command of a customer, carrier or supplier, given as soon as the order is ready for it."""

    role: str
    command: str
    ready: Condition
    may_conflict: bool = False
    """Whether 409 is an acceptable answer, because the order may have moved on meanwhile."""


@dataclass(frozen=True)
class Check:
    claim: str
    holds: Condition


@dataclass(frozen=True)
class TimelineEntry:
    """Something that happened to an event, `milliseconds` after the step before it."""

    at: datetime
    milliseconds: float
    name: str
    detail: str


@dataclass
class Scenario:
    """An order of the demo: `lines` are its quantities by SKU; `state` is None until it was first read."""

    name: str
    colour: str
    lines: dict[str, int]
    steps: Sequence[Step]
    checks: Sequence[Check]
    order_id: str = ""
    state: OrderState | None = None
    taken: list[tuple[datetime, Step]] = field(default_factory=list)
    """Steps that were begun, and when."""
    step_error: str | None = None
    """Reason why a step failed, which ends the scenario."""
    read_error: str | None = None
    """Reason why the last attempt to read the state failed."""
    _shown: set[tuple[datetime, str, str]] = field(default_factory=set)

    @property
    def is_finished(self) -> bool:
        """True when a step has failed, or all are taken, no event is on its way and all checks hold."""
        if self.step_error:
            return True
        is_complete = self.state is not None and len(self.taken) == len(self.steps) and self.state.is_quiet
        return is_complete and not self.failed_checks

    @property
    def failed_checks(self) -> list[Check]:
        return [check for check in self.checks if self.state is None or not check.holds(self.state)]

    def next_steps(self, state: OrderState) -> Iterator[Step]:
        """The next steps for which this state is ready. Steps that are ready for the same state are taken
        at once, so that they race."""
        for step in self.steps[len(self.taken) :]:
            if not step.ready(state):
                return
            yield step

    def new_entries(self) -> list[TimelineEntry]:
        """The entries that are new since the last call, by time."""
        new = [entry for entry in self._timeline() if (entry.at, entry.name, entry.detail) not in self._shown]
        self._shown.update((entry.at, entry.name, entry.detail) for entry in new)
        return sorted(new, key=lambda entry: entry.at)

    def _timeline(self) -> Iterator[TimelineEntry]:
        for at, step in self.taken:
            yield TimelineEntry(at, 0.0, step.role, step.command)
        if self.state is None:
            return
        for side, events in (("Order", self.state.order_events), ("SCM", self.state.scm_events)):
            for event in events["published"]:
                yield self._entry(event["occurredAt"], f"event of {side}", event["type"])
                yield from self._relayed(event)
            for message in events["received"]:
                detail = f"{message['type']} from {message['consumer']}"
                yield self._entry(message["receivedAt"], f"received by {side}", detail)

    def _relayed(self, event: Json) -> Iterator[TimelineEntry]:
        if event["decision"] is None:
            return
        yield self._entry(event["relayedAt"], "relayed", event["type"])
        decision = event["decision"].replace("_", " ")
        yield self._entry(event["decidedAt"], decision, f"{event['type']}, route {event['rule']}")

    def _entry(self, timestamp: str, name: str, detail: str) -> TimelineEntry:
        at = datetime.fromisoformat(timestamp)
        # An event's time has whole milliseconds, a step's microseconds.
        began = max((each for each, _ in self.taken if each <= at), default=at)
        return TimelineEntry(at, (at - began).total_seconds() * 1000, name, detail)

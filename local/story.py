"""Story: one order of the demo, what is done about it, and its way through the stations as REST tells it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Act:
    """Something that somebody does, once the order has a status."""

    who: str
    """customer, carrier or supplier."""
    what: str
    once: str = "PLACED"


@dataclass(frozen=True)
class Station:
    """A place that an event has passed, so many milliseconds after the act before it."""

    at: datetime
    milliseconds: float
    name: str
    detail: str


@dataclass
class Story:
    """One order: what is done about it, what should come of it, and what is known of it so far."""

    name: str
    colour: str
    lines: dict[str, int]
    acts: Sequence[Act]
    expected: str
    id: str = ""
    order: dict[str, Any] = field(default_factory=dict)
    acted: list[tuple[datetime, Act]] = field(default_factory=list)
    """When its acts were begun."""
    _at_order: dict[str, Any] = field(default_factory=dict)
    _at_scm: dict[str, Any] = field(default_factory=dict)
    _told: set[tuple[datetime, str, str]] = field(default_factory=set)

    @property
    def reaches_scm(self) -> bool:
        return any(act.what == "complete" for act in self.acts)

    @property
    def settled(self) -> bool:
        """All is done, it is as expected, and no event of it is on its way any more."""
        published = [*self._at_order.get("published", ()), *self._at_scm.get("published", ())]
        all_decided = bool(published) and all(event["decision"] for event in published)
        sent = [event for event in self._at_scm.get("published", ()) if event["decision"] == "forwarded"]
        all_back = len(self._at_order.get("received", ())) == len(sent)
        all_done = len(self.acted) == len(self.acts)
        return all_done and all_decided and all_back and self.order["status"] == self.expected

    @property
    def decisions(self) -> set[str]:
        """What the adapter decided about the order's own events."""
        return {event["decision"] for event in self._at_order.get("published", ())}

    @property
    def answers(self) -> list[str]:
        """The types of SCM's events that came back to the order."""
        return [message["type"] for message in self._at_order.get("received", ())]

    def heard(self, at_order: dict[str, Any], at_scm: dict[str, Any], order: dict[str, Any]) -> None:
        self._at_order, self._at_scm, self.order = at_order, at_scm, order

    def new_stations(self) -> list[Station]:
        """The stations that were passed since the last call, in the order of their time."""
        new = [each for each in self._stations() if (each.at, each.name, each.detail) not in self._told]
        self._told.update((each.at, each.name, each.detail) for each in new)
        return sorted(new, key=lambda station: station.at)

    def _stations(self) -> Iterator[Station]:
        for at, act in self.acted:
            yield Station(at, 0.0, act.who, act.what)
        for event in self._at_order.get("published", ()):
            yield self._station(event["occurredAt"], "event of Order", event["type"])
            yield from self._relayed(event)
        for message in self._at_scm.get("received", ()):
            yield self._station(message["receivedAt"], "received by SCM", message["type"])
        for event in self._at_scm.get("published", ()):
            yield self._station(event["occurredAt"], "event of SCM", event["type"])
            yield from self._relayed(event)
        for message in self._at_order.get("received", ()):
            yield self._station(message["handledAt"], "back at the order", message["type"])

    def _relayed(self, event: dict[str, Any]) -> Iterator[Station]:
        if event["decision"] is None:
            return
        yield self._station(event["relayedAt"], "relayed", event["type"])
        decision = event["decision"].replace("_", " ")
        yield self._station(event["decidedAt"], decision, f"{event['type']}, rule {event['rule']}")

    def _station(self, text: str, name: str, detail: str) -> Station:
        at = datetime.fromisoformat(text)
        # An event's time has whole milliseconds, an act's microseconds.
        began = max((each for each, _ in self.acted if each <= at), default=at)
        return Station(at, (at - began).total_seconds() * 1000, name, detail)

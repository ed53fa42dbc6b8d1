"""Story: one order of the demo, and its way through the stations as REST tells it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Command = tuple[str, str, dict[str, str] | None]
"""Method, path below the order, body."""


@dataclass(frozen=True)
class Station:
    """A place that an event has passed, so many milliseconds after the command that caused it."""

    at: datetime
    milliseconds: float
    name: str
    detail: str


@dataclass
class Story:
    """One order: what is done with it, what should come of it, and what is known of it so far."""

    name: str
    colour: str
    lines: dict[str, int]
    command: Command
    expected: str
    id: str = ""
    order: dict[str, Any] = field(default_factory=dict)
    _at_order: dict[str, Any] = field(default_factory=dict)
    _at_scm: dict[str, Any] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    @property
    def reaches_scm(self) -> bool:
        return self.command[1] == "complete"

    @property
    def settled(self) -> bool:
        """It is as expected, and no event of it is on its way any more."""
        published = [*self._at_order.get("published", ()), *self._at_scm.get("published", ())]
        all_decided = bool(published) and all(event["decision"] for event in published)
        sent = [event for event in self._at_scm.get("published", ()) if event["decision"] == "forwarded"]
        all_back = len(self._at_order.get("received", ())) == len(sent)
        return all_decided and all_back and self.order["status"] == self.expected

    @property
    def decisions(self) -> set[str]:
        """What the adapter decided about the order's own events."""
        return {event["decision"] for event in self._at_order.get("published", ())}

    def heard(self, at_order: dict[str, Any], at_scm: dict[str, Any], order: dict[str, Any]) -> None:
        self._at_order, self._at_scm, self.order = at_order, at_scm, order

    def new_stations(self) -> list[Station]:
        """The stations that were passed since the last call, in the order of their time."""
        new = [station for station in self._stations() if (station.name, station.detail) not in self._told]
        self._told.update((station.name, station.detail) for station in new)
        return sorted(new, key=lambda station: station.at)

    def _stations(self) -> Iterator[Station]:
        for event in self._at_order.get("published", ()):
            began = _time(event["occurredAt"])
            yield _station(began, began, "command", event["type"])
            yield from _relayed(event, began)
        completed = [e for e in self._at_order.get("published", ()) if e["type"] == "OrderCompleted"]
        for began in (_time(event["occurredAt"]) for event in completed):
            yield from self._stations_after(began)

    def _stations_after(self, began: datetime) -> Iterator[Station]:
        """What SCM did after the order was completed, and what came back."""
        for message in self._at_scm.get("received", ()):
            yield _station(began, _time(message["receivedAt"]), "received by SCM", message["type"])
        for event in self._at_scm.get("published", ()):
            what = "invoice" if "Invoice" in event["type"] else "stock"
            yield _station(began, _time(event["occurredAt"]), what, event["type"])
            yield from _relayed(event, began)
        for message in self._at_order.get("received", ()):
            yield _station(began, _time(message["handledAt"]), "back at the order", message["type"])


def _relayed(event: dict[str, Any], began: datetime) -> Iterator[Station]:
    if event["decision"] is None:
        return
    yield _station(began, _time(event["relayedAt"]), "relayed", event["type"])
    decision = event["decision"].replace("_", " ")
    yield _station(began, _time(event["decidedAt"]), decision, f"{event['type']}, rule {event['rule']}")


def _station(began: datetime, at: datetime, name: str, detail: str) -> Station:
    # The command's time has whole milliseconds, the others microseconds.
    return Station(at, max(0.0, (at - began).total_seconds() * 1000), name, detail)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

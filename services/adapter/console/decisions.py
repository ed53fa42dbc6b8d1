"""Decisions: what the bridge decided, counted by rule and topic."""

from collections import Counter

from snsqs import WireModel

from services.adapter.bridge import Decided
from services.adapter.console.live import Live
from shared.operations.tally import Tally


class RuleCount(WireModel):
    """How often a rule decided so."""

    rule: str | None
    """None where an event failed before any rule matched."""
    decision: str
    count: int


class Decisions:
    """The bridge's observer. All counts are those of this process."""

    def __init__(self, live: Live) -> None:
        self.tally = Tally()
        """By decision."""
        self.published = Counter[str]()
        """Forwarded events, by topic."""
        self._by_rule = Counter[tuple[str | None, str]]()
        self._live = live

    def add(self, decided: Decided) -> None:
        self.tally.add(decided.decision)
        self._by_rule[decided.rule, decided.decision] += 1
        if decided.decision == "forwarded" and decided.topic:
            self.published[decided.topic] += 1
        self._live.tell("decision", decided)

    @property
    def rules(self) -> list[RuleCount]:
        """The most frequent first."""
        return [
            RuleCount(rule=rule, decision=decision, count=count)
            for (rule, decision), count in self._by_rule.most_common()
        ]

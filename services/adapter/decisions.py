"""Decisions of the bridge, counted by rule and topic, the last ones remembered, for `/progress`."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict

from services.adapter.bridge import Decided
from shared.operations.progress import BridgeProgress, RecentDecision, RuleCount, ServiceProgress, pace
from shared.operations.recent_entries import RecentEntries
from shared.operations.tally import Tally


class Decisions:
    """The bridge's observer. All counts are those of this process."""

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)
        self._tally = Tally()
        self._published = Counter[str]()
        self._by_rule = Counter[tuple[str | None, str]]()
        self._recent = RecentEntries[Decided]()

    def add(self, decided: Decided) -> None:
        self._tally.add(decided.decision)
        self._by_rule[decided.rule, decided.decision] += 1
        if decided.decision == "forwarded" and decided.topic:
            self._published[decided.topic] += 1
        self._recent.add(decided)

    async def now(self, cursors: Collection[str] = ()) -> ServiceProgress:
        """The adapter's progress, with the decisions after the cursors."""
        decided, missed = self._recent.after(cursors)
        bridge = BridgeProgress(
            rules=[
                RuleCount(rule=rule, decision=decision, count=count)
                for (rule, decision), count in self._by_rule.most_common()
            ],
            published=dict(self._published),
            topics=self._topics,
            **pace(self._tally),
        )
        return ServiceProgress(
            service="adapter",
            trouble=None,
            relay=None,
            listeners=[],
            bridge=bridge,
            settled=[],
            decisions=[RecentDecision.model_validate(asdict(each)) for each in decided],
            missed=missed,
            cursor=self._recent.cursor,
        )

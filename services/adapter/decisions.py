"""Record of the bridge's decisions: log lines, metrics, and the adapter's part of `GET /progress`."""

from collections import Counter
from collections.abc import Collection, Sequence

import prometheus_client
import structlog

from services.adapter.routes import Decision
from shared.operations.progress import BridgeProgress, RecentDecision, RuleCount, ServiceProgress, pace
from shared.operations.recent_entries import RecentEntries
from shared.operations.tally import Tally

log = structlog.get_logger(__name__)

_MAX_ERROR_CHARACTERS = 500

_EVENTS = prometheus_client.Counter("adapter_events", "Events by decision and rule.", ["decision", "rule"])


class Decisions:
    """Decisions of this process: counts since its start, and the most recent ones.

    A ProgressSource. `topics` are those of the routes.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)
        self._tally = Tally()
        self._by_rule = Counter[tuple[str | None, str]]()
        self._published = Counter[str]()
        self._recent = RecentEntries[RecentDecision]()

    def record(self, decision: Decision) -> None:
        """Log and count a final decision."""
        _log(decision)
        _EVENTS.labels(decision.decision, decision.rule).inc()
        self._tally.add(decision.decision)
        self._by_rule[decision.rule, decision.decision] += 1
        if decision.topic and decision.decision == "forwarded":
            self._published[decision.topic] += 1
        self._recent.add(_recent(decision))

    async def now(self, cursors: Collection[str] = ()) -> ServiceProgress:
        """Return the current progress, and the decisions after the cursors."""
        decisions, missed = self._recent.after(cursors)
        return ServiceProgress(
            service="adapter",
            trouble=None,
            relay=None,
            listeners=[],
            settled=[],
            bridge=self._bridge(),
            decisions=decisions,
            missed=missed,
            cursor=self._recent.cursor,
        )

    def _bridge(self) -> BridgeProgress:
        return BridgeProgress(
            rules=[
                RuleCount(rule=rule, decision=decision, count=count)
                for (rule, decision), count in self._by_rule.most_common()
            ],
            published=dict(self._published),
            topics=self._topics,
            **pace(self._tally),
        )


def _log(decision: Decision) -> None:
    fields = {
        "event_id": decision.id,
        "rule": decision.rule,
        "message_id": decision.message_id,
        "event_type": decision.type,
        "order_id": decision.order_id,
    }
    if decision.decision == "failed":
        log.warning("failed", error=decision.error, **fields)
    else:
        log.info(decision.decision.replace("_", " "), **fields)


def _recent(decision: Decision) -> RecentDecision:
    return RecentDecision(
        event_id=decision.id,
        type=decision.type,
        order_id=decision.order_id,
        source=decision.source,
        decision=decision.decision,
        rule=decision.rule,
        topic=decision.topic,
        message_id=decision.message_id,
        error=decision.error and decision.error[:_MAX_ERROR_CHARACTERS],
        at=decision.decided_at,
    )

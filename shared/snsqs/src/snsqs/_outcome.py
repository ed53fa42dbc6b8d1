"""MessageOutcome: the end of one delivery, for observers and metrics."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from opentelemetry.metrics import CallbackOptions, Observation, get_meter


@dataclass(frozen=True, slots=True)
class MessageOutcome:
    """Outcome of one delivery of a message: final, or until the queue delivers it again."""

    queue: str
    message_id: str
    """Id of the event (header `ce-id`), not of the queue's message."""
    type: str
    subject: str
    handler: str | None
    """Name of the handler function; None if no function handles the type."""
    outcome: str
    """Deleted: `handled`; `filtered`, if middleware did not pass the message on, or the outcome that it sets
    instead (see `Inbox`); `ignored`; `dead_letter`; `failed_after_acknowledgement`. Delivered again:
    `failed`, `lease_lost`, `not_acknowledged`, and `cancelled` by the end of the listener."""
    reason: str | None
    """Error class and message, if there was an error."""
    receive_count: int
    received_at: datetime
    settled_at: datetime


OutcomeObserver = Callable[[MessageOutcome], None]
"""Called synchronously for every outcome; it must return at once. Its errors are logged."""

_settled: Counter[tuple[str, str]] = Counter()


def count_outcome(queue: str, outcome: str) -> None:
    """Count an outcome in the metric `messages_settled`."""
    _settled[queue, outcome.replace("_", " ")] += 1


def _observe_settled(_: CallbackOptions) -> Iterator[Observation]:
    for (queue, outcome), count in list(_settled.items()):  # a reader may call from its own thread
        yield Observation(count, {"queue": queue, "outcome": outcome})


# Observed when it is collected: the SDK's `Counter.add` takes as long as 2 % of a message.
get_meter("snsqs").create_observable_counter(
    "messages_settled", [_observe_settled], description="Messages by queue and outcome."
)

"""Record of a MemoryBroker: messages, outcomes and errors of its listeners, for assertions."""

import json
from dataclasses import dataclass

from snsqs._errors import TerminalError
from snsqs._handler import Delivery, MessageHandler
from snsqs._message import Message
from snsqs._options import validate_observer
from snsqs._outcome import MessageOutcome, OutcomeObserver
from snsqs.headers import DEAD_LETTER_DETAILS, DEAD_LETTER_REASON
from snsqs.testing._queue import StoredMessage


@dataclass(frozen=True)
class DeadLetter:
    """A message in a dead-letter queue of a MemoryBroker."""

    queue: str
    """Queue on which it failed."""
    message: Message[str]
    """The message as it was sent, without the attributes of a dead letter."""
    reason: str
    """Error class and message, such as `TerminalError: invalid memo`; or `received too often`, if the queue
    moved the message by its redrive policy."""
    error: Exception
    """The last error of its handler; TerminalError with the reason if no handler received it."""


class Record:
    """Outermost middleware of all listeners."""

    provides = ()

    def __init__(self) -> None:
        self.outcomes: list[MessageOutcome] = []
        self.errors: dict[str, Exception] = {}
        """The last error of each message, by message id."""
        self._messages: dict[str, Message[str]] = {}

    async def __call__(self, delivery: Delivery, proceed: MessageHandler) -> None:
        by_id = {message.id: message for message in delivery.messages}
        self._messages.update(by_id)
        try:
            await proceed(delivery)
        except Exception as error:
            self.errors.update(dict.fromkeys(by_id, error))
            raise

    def observer(self, also: OutcomeObserver | None) -> OutcomeObserver:
        """Return the observer of a listener, which calls another one as well."""
        validate_observer(also)

        def observe(outcome: MessageOutcome) -> None:
            self.outcomes.append(outcome)
            if also is not None:
                also(outcome)

        return observe

    def handled(self) -> list[tuple[str, Message[str]]]:
        """Return queue and message of each delivery that was handled, in order."""
        return [
            (each.queue, self._messages[each.message_id])
            for each in self.outcomes
            if each.outcome == "handled"
        ]


def dead_letter(queue: str, stored: StoredMessage, record: Record) -> DeadLetter:
    """Return a message of the dead-letter queue of `queue`."""
    headers = {name: value.get("StringValue", "") for name, value in stored.attributes.items()}
    reason = headers.pop(DEAD_LETTER_REASON, "received too often")
    details = json.loads(headers.pop(DEAD_LETTER_DETAILS, "{}"))
    message = Message(stored.body, headers | details.get("attributes", {}))
    return DeadLetter(queue, message, reason, record.errors.get(message.id) or TerminalError(reason))

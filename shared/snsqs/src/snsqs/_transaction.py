"""Transaction of the asyncpg stack, and the context of a message that the inbox handles in one."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from snsqs.events import ApplicationEventPublisher

if TYPE_CHECKING:
    from snsqs.postgres import Connection


class Transaction:
    """One database transaction, and the in-process events that are published in it.

    Functions that write take the transaction of their caller, so that a command, its events and the effects
    of their listeners become visible together or not at all.
    """

    belongs_to_event_loop = True
    """A handler that runs in a thread cannot take a transaction."""

    def __init__(self, connection: "Connection", publisher: ApplicationEventPublisher) -> None:
        self.connection = connection
        self.cause_id: str | None = None
        """Id of the message that is handled in this transaction. Set by `snsqs.inbox.Inbox`; recorded by
        `snsqs.outbox.EventLog` as the cause of the events. None in the transaction of a command."""
        self._publisher = publisher
        self._after_commit: list[Callable[[], Awaitable[None]]] = []

    @property
    def resource(self) -> "Transaction":
        """Argument of handlers: the transaction itself."""
        return self

    async def publish(self, event: object) -> None:
        """Pass the event to its in-process listeners, inside this transaction."""
        await self._publisher.publish(event, self)

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Run the callback once this transaction is committed; never if it is rolled back."""
        self._after_commit.append(callback)

    async def run_after_commit(self) -> None:
        """Run the callbacks. Called by Database after the commit."""
        for callback in self._after_commit:
            await callback()


@runtime_checkable
class ReportsEnd(Protocol):
    """SqlConnection that reports the end of its transaction."""

    def on_transaction_end(self, callback: Callable[[], None]) -> None:
        """Run the callback after the commit or rollback of the present transaction."""
        ...


@dataclass(frozen=True)
class InboxContext:
    """Message that the inbox handles in a transaction, for appends on a bare connection."""

    cause_id: str | None
    """Id of the message; None for a batch of several."""
    after_commit: list[Callable[[], None]]


inbox_context: ContextVar[InboxContext | None] = ContextVar("snsqs.inbox_context", default=None)

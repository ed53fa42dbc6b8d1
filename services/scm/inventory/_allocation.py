"""Allocation: reserves goods for waiting orders as soon as there are enough."""

import asyncio
from dataclasses import dataclass

import asyncpg
import structlog
from snsqs import TerminalError, Unavailable
from snsqs.background import PollingLoop
from snsqs.postgres import Database, DatabaseUnavailable, Transaction

from services.scm.events import GoodsShort
from services.scm.inventory import _waiting as waiting
from services.scm.inventory._reservation import reserve_for_waiting
from services.scm.inventory._stock import StockFreed
from services.scm.order_lock import try_lock_order

log = structlog.get_logger(__name__)

_MAX_UNAVAILABLE = 3
"""Consecutive orders that meet an unavailable dependency before the batch ends: the rest would meet it
too."""


SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '1s'"
"""Shorter than the statement timeout, which would be taken for an unavailable database."""


class AllocationSignal:
    """ApplicationListener that wakes the allocation of its own process after a commit that frees goods, or
    after which another order waits. Of an order and goods that become available concurrently, the later
    commit sees the other one. Other processes find the goods by polling."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()

    async def on_application_event(self, _: StockFreed | GoodsShort, tx: Transaction) -> None:
        tx.after_commit(self._wake)

    async def _wake(self) -> None:
        self.woken.set()


@dataclass(frozen=True)
class AllocationOptions:
    """Options of an Allocation. Times are seconds."""

    batch_size: int = 100
    poll_interval: float = 5.0
    """Time between batches without a signal: finds goods freed by other processes, and orders due for a
    retry."""
    max_backoff: float = 10.0
    """Longest wait while the Order service or the database is unavailable."""
    max_attempts: int = 20
    """Failed attempts after which an order is parked; 20 take about 8 minutes."""


class Allocation(PollingLoop):
    """Background loop that reserves goods for waiting orders, oldest first, each in a transaction of its own.
    Any number of instances may run on one database.

    An order that fails is retried with backoff and keeps its claim. After `max_attempts`, or at once after a
    TerminalError, it is parked: it gives up its claim until an operator retries it. `Unavailable` counts no
    attempt, because the cause is not the order.
    """

    def __init__(
        self, database: Database, signal: AllocationSignal, options: AllocationOptions | None = None
    ) -> None:
        self._database = database
        self._options = options or AllocationOptions()
        self._unavailable = 0
        self._unserved: str | None = None
        super().__init__(
            "allocation",
            self.serve_batch,
            interval=self._options.poll_interval,
            retry_on=(Unavailable, DatabaseUnavailable),
            max_backoff=self._options.max_backoff,
            wake=signal.woken,
            wake_ends_backoff=True,  # a new order may not need what is unavailable
        )

    @property
    def degraded_reason(self) -> str | None:
        """The error that the loop backs off from, or else the last error of the oldest order that could not
        be served although its goods are in stock; None otherwise."""
        return super().degraded_reason or self._unserved

    async def serve_batch(self) -> bool:
        """Serve up to `batch_size` orders whose goods are in stock. Return whether there may be more. Raises
        Unavailable, DatabaseUnavailable."""
        async with self._database.connection() as connection:
            order_ids = await waiting.find_servable(connection, self._options.batch_size)
        tried = 0
        for order_id in order_ids:
            if self.stopping.is_set():
                return False
            tried += await self._try_to_serve(order_id)
        async with self._database.connection() as connection:
            self._unserved = await waiting.find_degraded_reason(connection)
        return tried > 0 and len(order_ids) == self._options.batch_size

    async def _try_to_serve(self, order_id: str) -> bool:
        """Return False when the order or one of its articles is locked by another transaction."""
        try:
            async with self._database.transaction() as tx:
                if not await try_lock_order(tx, order_id):
                    return False
                await tx.connection.execute(SET_LOCK_TIMEOUT)
                await reserve_for_waiting(order_id, tx)
        except DatabaseUnavailable as error:
            if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            log.warning("waiting order postponed", order_id=order_id, error="an article is locked")
            return False
        except Unavailable as error:
            await self._postpone(order_id, error)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # such as a panic; it must not stop the other orders
            await self._record_failure(order_id, error)
        else:
            self._unavailable = 0
        return True

    async def _postpone(self, order_id: str, error: Unavailable) -> None:
        async with self._database.connection() as connection:
            await waiting.postpone(connection, order_id, error, max_delay=self._options.max_backoff)
        self._unavailable += 1
        if self._unavailable >= _MAX_UNAVAILABLE:
            raise error

    async def _record_failure(self, order_id: str, error: BaseException) -> None:
        max_attempts = 1 if isinstance(error, TerminalError) else self._options.max_attempts
        async with self._database.transaction() as tx:
            if await waiting.record_failure(tx.connection, order_id, error, max_attempts=max_attempts):
                await tx.publish(StockFreed())

"""Allocation: serves the orders that wait, as soon as there are goods for them."""

from dataclasses import dataclass

import asyncpg
import structlog
from snsqs import TerminalError, Unavailable
from snsqs.background import PollingLoop
from snsqs.postgres import Database, DatabaseUnavailable

from services.scm.inventory import _waiting as waiting
from services.scm.inventory._bell import Bell, StockFreed
from services.scm.inventory._reservation import serve_waiting
from services.scm.turn import try_turn

log = structlog.get_logger(__name__)

_AWAY_AFTER = 3
"""When so many orders in a row met something that is away, the others would meet it too."""


LOCKS_WAIT_SHORTLY = "SET LOCAL lock_timeout = '1s'"
"""Else the order would wait until the statement's time is over, which looks as if the database were away."""


@dataclass(frozen=True)
class AllocationOptions:
    """The times are seconds."""

    batch: int = 100
    poll: float = 5.0
    """How often it looks without being rung for: a net under the bell, which sounds in its own process only,
    and for orders that are to be tried again."""
    retry_most: float = 10.0
    """The longest wait while the Order service or the database is away."""
    max_attempts: int = 20
    """After so many failures of its own an order is parked; with the growing delay, 20 take 8 minutes."""


class Allocation(PollingLoop):
    """Serves each order in a transaction of its own, until it is stopped. Any number may run.

    An order that fails is tried again later and keeps its claim meanwhile. One that can never succeed, or
    failed too often, is parked: its claim is given up, and somebody has to look at it. While what every order
    needs is away, no order is to blame and no attempt is counted.
    """

    def __init__(self, database: Database, bell: Bell, options: AllocationOptions | None = None) -> None:
        self._database = database
        self._options = options or AllocationOptions()
        self._away = 0
        self._unserved: str | None = None
        super().__init__(
            "allocation",
            self.serve_batch,
            interval=self._options.poll,
            retry_on=(Unavailable, DatabaseUnavailable),
            max_backoff=self._options.retry_most,
            wake=bell.rung,
            wake_ends_backoff=True,  # a new order may not need what is unavailable
        )

    @property
    def degraded_reason(self) -> str | None:
        """The error that the loop backs off from, or else the last error of the oldest order that could not
        be served although its goods are in stock; None otherwise."""
        return super().degraded_reason or self._unserved

    async def serve_batch(self) -> bool:
        """Serves whom it can, the oldest first. False when nobody more is left, or all are busy."""
        async with self._database.connection() as connection:
            order_ids = await waiting.servable(connection, self._options.batch)
        tried = 0
        for order_id in order_ids:
            if self.stopping.is_set():
                return False
            tried += await self._try_to_serve(order_id)
        async with self._database.connection() as connection:
            self._unserved = await waiting.degraded_reason(connection)
        return tried > 0 and len(order_ids) == self._options.batch

    async def _try_to_serve(self, order_id: str) -> bool:
        """False when somebody else has the order's turn or keeps one of its articles. Raises Unavailable when
        what it met would meet the others too."""
        try:
            async with self._database.transaction() as tx:
                if not await try_turn(tx, order_id):
                    return False
                await tx.connection.execute(LOCKS_WAIT_SHORTLY)
                await serve_waiting(order_id, tx)
        except asyncpg.LockNotAvailableError:
            log.warning("waiting order not served yet", order_id=order_id, error="its articles are in use")
            return False
        except DatabaseUnavailable:
            raise
        except Unavailable as error:
            await self._postpone(order_id, error)
        except Exception as error:
            await self._record_failed(order_id, error)
        else:
            self._away = 0
        return True

    async def _postpone(self, order_id: str, error: Unavailable) -> None:
        async with self._database.connection() as connection:
            await waiting.postpone(connection, order_id, error, most=self._options.retry_most)
        self._away += 1
        if self._away >= _AWAY_AFTER:
            raise error

    async def _record_failed(self, order_id: str, error: Exception) -> None:
        most = 1 if isinstance(error, TerminalError) else self._options.max_attempts
        async with self._database.transaction() as tx:
            if await waiting.record_failed(tx.connection, order_id, error, most=most):
                await tx.publish(StockFreed())

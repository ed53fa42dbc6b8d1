"""Bell: tells the allocation that an order which waits may be servable now."""

import asyncio
from dataclasses import dataclass

from snsqs.postgres import Transaction

from services.scm.events import GoodsShort


@dataclass(frozen=True)
class StockFreed:
    """There is more of something, or less of it is claimed."""


class Bell:
    """An ApplicationListener: rings after the commit of whatever frees goods, and of each order that begins
    to wait. Of an order and goods that meet, the one that is committed last rings, and sees the other. It
    sounds in its own process only; Allocation has a net for the others."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()

    async def on_application_event(self, _: StockFreed | GoodsShort, tx: Transaction) -> None:
        tx.after_commit(self._ring)

    async def _ring(self) -> None:
        self.rung.set()

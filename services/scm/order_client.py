"""REST client of the Order service."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import stamina
from snsqs import Aggregate, TerminalError, Unavailable, WireModel
from snsqs.postgres import Transaction

from services.scm.circuit import Circuit
from shared.runtime.service_client import ServiceClient, ServiceUnavailable, ServiceUnreachable

_ATTEMPT_TIMEOUT = 2.0
_TIMEOUT = 3.0
"""Seconds for all attempts together, because a database transaction waits."""


class UnknownOrder(TerminalError):
    """The Order service has no such order; nothing can be bought or delivered for it."""


class OrderLine(WireModel):
    sku: str
    quantity: int


class CurrentOrder(Aggregate):
    """The fields of an order that SCM reads. The address is that of `version`, copied without parsing."""

    delivery_address: dict[str, Any]
    order_lines: list[OrderLine]
    completed_at: datetime | None = None
    """Time of the payment, None before."""


class OrderClient:
    """Reads orders, with short timeouts, retries and a circuit breaker. Safe to share between tasks."""

    def __init__(self, http: httpx.AsyncClient, order_url: str, headers: Mapping[str, str]) -> None:
        self._service = ServiceClient("order service", order_url, http, headers, _ATTEMPT_TIMEOUT)
        self._circuit = Circuit("order service")
        self._read_in = WeakKeyDictionary[Transaction, CurrentOrder]()

    @property
    def degraded_reason(self) -> str | None:
        """Reason while the circuit breaker is open, otherwise None."""
        return self._circuit.degraded_reason

    async def current_order(self, order_id: str) -> CurrentOrder:
        """Return the order. Raises UnknownOrder; Unavailable when the service does not answer within 3 s or
        fails."""
        async with self._circuit.call():
            document = await self._read(f"/orders/{order_id}")
        if document is None:
            raise UnknownOrder(f"the order service has no order {order_id}")
        return CurrentOrder.model_validate(document)

    async def order_in(self, tx: Transaction, order_id: str) -> CurrentOrder:
        """Return the order as it was read first in this transaction, which concerns one order only. Raises
        UnknownOrder, Unavailable."""
        if tx not in self._read_in:
            self._read_in[tx] = await self.current_order(order_id)
        return self._read_in[tx]

    async def _read(self, path: str) -> Any:
        try:
            async with asyncio.timeout(_TIMEOUT):
                return await self._find(path)
        except ServiceUnavailable as error:
            raise Unavailable(str(error)) from error
        except TimeoutError as error:
            raise Unavailable(f"{self._service}: no answer within {_TIMEOUT:g} s") from error

    @stamina.retry(on=ServiceUnreachable, attempts=3, wait_initial=0.05, wait_max=0.5)
    async def _find(self, path: str) -> Any:
        return await self._service.find(path)

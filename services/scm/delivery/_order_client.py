"""REST client of the Order service."""

import asyncio
from typing import Any

import httpx
import stamina
from snsqs import Aggregate, TerminalError, Unavailable

from services.scm.delivery._circuit import Circuit
from shared.runtime.service_client import ServiceClient, ServiceUnavailable, ServiceUnreachable

_ATTEMPT_TIMEOUT = 2.0
_TIMEOUT = 3.0
"""Seconds for all attempts together, because a database transaction waits."""


class UnknownOrder(TerminalError):
    """The Order service has no such order; nothing can be delivered."""


class CurrentOrder(Aggregate):
    """The fields of an order that delivery reads. The address is that of `version`, copied without
    parsing."""

    delivery_address: dict[str, Any]


class OrderClient:
    """Reads orders, with short timeouts, retries and a circuit breaker. Safe to share between tasks."""

    def __init__(self, http: httpx.AsyncClient, order_url: str) -> None:
        self._service = ServiceClient("order service", order_url, http, timeout=_ATTEMPT_TIMEOUT)
        self._circuit = Circuit("order service")

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

"""REST client of the Order service."""

import asyncio
from typing import Any

import httpx
import stamina
from opentelemetry import propagate
from snsqs import Aggregate, TerminalError, Unavailable

from services.scm.delivery._circuit import Circuit

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
        self._http = http
        self._url = order_url.rstrip("/")
        self._circuit = Circuit("order service")

    @property
    def degraded_reason(self) -> str | None:
        """Reason while the circuit breaker is open, otherwise None."""
        return self._circuit.degraded_reason

    async def current_order(self, order_id: str) -> CurrentOrder:
        """Return the order. Raises UnknownOrder; Unavailable when the service does not answer within 3 s or
        fails."""
        async with self._circuit.call():
            return await self._read(order_id)

    async def _read(self, order_id: str) -> CurrentOrder:
        try:
            async with asyncio.timeout(_TIMEOUT):
                response = await self._get(f"{self._url}/orders/{order_id}")
        except (httpx.RequestError, TimeoutError) as error:
            raise Unavailable(f"order service at {self._url}: {error!r}") from error
        if response.status_code == httpx.codes.NOT_FOUND:
            raise UnknownOrder(f"the order service has no order {order_id}")
        if response.status_code != httpx.codes.OK:
            raise Unavailable(f"order service at {self._url}: HTTP {response.status_code}")
        return CurrentOrder.model_validate_json(response.content)

    @stamina.retry(on=httpx.TransportError, attempts=3, wait_initial=0.05, wait_max=0.5)
    async def _get(self, url: str) -> httpx.Response:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        return await self._http.get(url, headers=headers, timeout=httpx.Timeout(2, connect=1))

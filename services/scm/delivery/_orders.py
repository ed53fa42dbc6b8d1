"""The Order service, asked over REST for what is true now."""

import asyncio
from typing import Any

import httpx
import stamina
from opentelemetry import propagate
from snsqs import Aggregate, TerminalError, Unavailable

from services.scm.delivery._circuit import Circuit

_MOST = 3.0
"""Seconds for all tries together."""


class UnknownOrder(TerminalError):
    """The Order service does not know the order, so there is nothing to deliver."""


class CurrentOrder(Aggregate):
    """What delivery reads of an order; the address is handed on as it is, and is that of this version."""

    delivery_address: dict[str, Any]


class Orders:
    """Reads orders. The connections are pooled; the timeouts are short, because a transaction waits. A
    service that is away is not even asked (see Circuit)."""

    def __init__(self, http: httpx.AsyncClient, order_url: str) -> None:
        self._http = http
        self._url = order_url.rstrip("/")
        self._circuit = Circuit("order service")

    @property
    def degraded_reason(self) -> str | None:
        """Why no order is read just now, or None while all is well."""
        return self._circuit.degraded_reason

    async def current(self, order_id: str) -> CurrentOrder:
        """The order as it is now. Raises UnknownOrder; Unavailable when the service is away."""
        async with self._circuit.call():
            return await self._ask(order_id)

    async def _ask(self, order_id: str) -> CurrentOrder:
        try:
            async with asyncio.timeout(_MOST):
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

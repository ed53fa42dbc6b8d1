"""Topics that the adapter publishes to."""

import asyncio
from collections.abc import Sequence

from pydantic import ValidationError

from shared.operations.progress import ServiceProgress
from shared.runtime.service_client import RequestRejected, ServiceClient, ServiceUnavailable

_MAX_AGE = 30.0
"""Seconds; routes change with deployments."""


class Topics:
    """The topics of the adapter's routes, as it reported them last."""

    def __init__(self, adapter: ServiceClient) -> None:
        self._adapter = adapter
        self._names: Sequence[str] | None = None
        self._read_at = float("-inf")

    async def names(self) -> Sequence[str]:
        """Return the last known names while the adapter is down. Raises ServiceUnavailable when there are
        none."""
        now = asyncio.get_running_loop().time()
        if self._names is None or now - self._read_at > _MAX_AGE:
            try:
                self._names, self._read_at = await self._read(), now
            except ServiceUnavailable:
                if self._names is None:
                    raise
        return self._names

    async def _read(self) -> Sequence[str]:
        try:
            progress = ServiceProgress.model_validate(await self._adapter.get("/progress"))
        except (RequestRejected, ValidationError) as error:
            raise ServiceUnavailable(f"{self._adapter}: /progress is not a progress report") from error
        return progress.bridge.topics if progress.bridge else ()

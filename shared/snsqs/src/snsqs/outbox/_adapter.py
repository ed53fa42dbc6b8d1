"""AdapterClient: how the relay hands events to the adapter, and what the adapter answers."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import asyncpg
import httpx
from pydantic import AwareDatetime, ValidationError

from snsqs._model import WireModel

_NOT_LET_IN = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
_REFUSED = {httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE, httpx.codes.UNPROCESSABLE_ENTITY}


class AdapterUnavailable(Exception):
    """The adapter did not answer, or not for the batch as a whole. No event is to blame; all of them wait."""


class BatchFailed(AdapterUnavailable):
    """The adapter broke on the batch, or was too slow with it. It may be the adapter, it may be one event."""


class BatchRefused(Exception):
    """The adapter refused the batch as it is (a 4xx answer). One of its events may be the reason."""


class Result(WireModel):
    """What the adapter answered for one event."""

    id: str
    decision: Literal["forwarded", "held_back", "failed"]
    rule: str | None = None
    decided_at: AwareDatetime
    message_id: str | None = None
    error: str | None = None


class Answer(WireModel):
    results: list[Result]


class AdapterClient:
    """Posts rows of the event log to the adapter, as events of the service `source`.

    `timeout` is the seconds that one request may take.
    """

    def __init__(
        self, http: httpx.AsyncClient, url: str, *, headers: Mapping[str, str], source: str, timeout: float
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._headers = headers
        self._source = source
        self._timeout = timeout

    async def decide(self, batch: Sequence[asyncpg.Record]) -> list[Result]:
        """The adapter's results, in no promised order. A batch that it refuses is halved until the event
        to blame stands alone. Raises AdapterUnavailable."""
        try:
            return await self._send(batch)
        except BatchRefused as error:
            if len(batch) == 1:
                return [failed(batch[0], error)]
            half = len(batch) // 2
            return [*await self.decide(batch[:half]), *await self.decide(batch[half:])]

    async def is_ready(self) -> bool:
        """Whether the adapter can do its job now: false when it says that it cannot (SNS is away, a topic
        is missing), or says nothing."""
        try:
            answer = await self._http.get(f"{self._url}/readyz", timeout=self._timeout)
        except httpx.RequestError:
            return False
        return answer.status_code != httpx.codes.SERVICE_UNAVAILABLE

    async def _send(self, batch: Sequence[asyncpg.Record]) -> list[Result]:
        at = f"adapter at {self._url}/events"
        try:
            async with asyncio.timeout(self._timeout):  # httpx's own is for each read, not for all of them
                response = await self._http.post(
                    f"{self._url}/events",
                    content=json.dumps([_cloud_event(event, self._source) for event in batch]),
                    headers={"content-type": "application/cloudevents-batch+json", **self._headers},
                    timeout=self._timeout,
                )
        except (httpx.ReadTimeout, TimeoutError) as error:
            raise BatchFailed(f"{at}: no answer within {self._timeout:g} s") from error
        except httpx.RequestError as error:
            raise AdapterUnavailable(f"{at}: {error!r}") from error
        if response.status_code in _NOT_LET_IN:
            raise AdapterUnavailable(
                f"{at}: HTTP {response.status_code}, SERVICE_TOKEN here is not the adapter's"
            )
        if response.status_code in _REFUSED:
            raise BatchRefused(f"the adapter answered {response.status_code}: {response.text[:500]}")
        if response.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            raise BatchFailed(f"{at}: HTTP 500")
        if response.status_code != httpx.codes.OK:
            raise AdapterUnavailable(f"{at}: HTTP {response.status_code}")
        try:
            return Answer.model_validate_json(response.content).results
        except ValidationError as error:
            raise AdapterUnavailable(f"{at}: not an answer to a batch: {error}") from error


def failed(event: asyncpg.Record, error: Exception) -> Result:
    """The result of an event that is to blame for what became of its batch."""
    return Result(id=str(event["id"]), decision="failed", decided_at=datetime.now(UTC), error=str(error))


def _cloud_event(event: asyncpg.Record, source: str) -> dict[str, Any]:
    """A row of the log as a CloudEvent (https://github.com/cloudevents/spec, JSON batch format)."""
    attributes = {
        "specversion": "1.0",
        "id": str(event["id"]),
        "source": source,
        "type": event["type"],
        "subject": event["subject"],
        "time": event["occurred_at"].isoformat(),
        "sequence": str(event["sequence"]),
        "datacontenttype": "application/json",
        "data": json.loads(event["data"]),
    }
    return attributes | ({"traceparent": event["traceparent"]} if event["traceparent"] else {})

"""HttpSink: sends the events of an outbox to an adapter. Needs httpx: `pip install snsqs[http]`."""

from collections.abc import Mapping, Sequence

import httpx
from pydantic import ValidationError

from snsqs._json import cloud_event
from snsqs.cloudevents import BATCH_CONTENT_TYPE, BatchResult, EventResult
from snsqs.outbox._sink import BatchFailed, BatchRejected, OutboxEvent, SinkUnavailable

__all__ = [
    "HttpSink",
]

_UNAUTHORIZED = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
_REJECTED = {httpx.codes.BAD_REQUEST, httpx.codes.REQUEST_ENTITY_TOO_LARGE, httpx.codes.UNPROCESSABLE_ENTITY}
_REASON_CHARACTERS = 500


class HttpSink:
    """Posts events to the adapter at `url` as batches of CloudEvents (`snsqs.cloudevents`).

    The adapter answers `POST {url}/events` with a BatchResult, and `GET {url}/readyz` with 503 while it
    cannot publish.
    """

    def __init__(
        self, http: httpx.AsyncClient, url: str, *, source: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """
        Args:
            http: client that the sink shares; the caller closes it. The relay limits the time of each call,
                not the client's timeouts.
            source: name of this service, the `source` of every CloudEvent.
            headers: sent with every batch, such as a token.
        """
        self._http = http
        self._url = url.rstrip("/")
        self._source = source
        self._headers = {**(headers or {}), "content-type": BATCH_CONTENT_TYPE}

    def __str__(self) -> str:
        return f"adapter at {self._url}"

    async def publish(self, events: Sequence[OutboxEvent]) -> list[EventResult]:
        batch = f"[{', '.join(self._cloud_event(event) for event in events)}]".encode()
        try:
            response = await self._http.post(
                f"{self._url}/events", content=batch, headers=self._headers, timeout=None
            )
        except httpx.RequestError as error:
            raise SinkUnavailable(f"{self}: {error!r}") from error
        if response.status_code in _UNAUTHORIZED:
            raise SinkUnavailable(
                f"{self}: HTTP {response.status_code}, this service's token is not accepted for events of "
                f"{self._source}"
            )
        if response.status_code in _REJECTED:
            reason = response.text[:_REASON_CHARACTERS]
            raise BatchRejected(f"{self}: HTTP {response.status_code}: {reason}")
        if response.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            raise BatchFailed(f"{self}: HTTP 500")
        if response.status_code != httpx.codes.OK:
            raise SinkUnavailable(f"{self}: HTTP {response.status_code}")
        try:
            return BatchResult.model_validate_json(response.content).results
        except ValidationError as error:
            raise SinkUnavailable(f"{self}: unexpected response to a batch: {error}") from error

    async def is_ready(self) -> bool:
        try:
            response = await self._http.get(f"{self._url}/readyz", timeout=None)
        except httpx.RequestError:
            return False
        return response.status_code != httpx.codes.SERVICE_UNAVAILABLE

    def _cloud_event(self, event: OutboxEvent) -> str:
        context = {
            "id": str(event.id),
            "source": self._source,
            "type": event.type,
            "subject": event.subject,
            "time": event.occurred_at.isoformat(),
            "sequence": str(event.sequence),
        }
        if event.traceparent:
            context["traceparent"] = event.traceparent
            if event.tracestate:
                context["tracestate"] = event.tracestate
        return cloud_event(context, event.data)

"""Idempotency keys: a command sent again with the same key runs once; its response is repeated.

After "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header-07). Choices that the
draft leaves open, and deviations from it:

- A key stands for one request: its method, path and parsed body, whatever the body's formatting. With another
  request it is rejected (422). There are no accounts, so keys are unique per service.
- Stored are success and NotAllowed (409). Any other failure rolls back and leaves the key free: a malformed
  request, an unknown order, a version that does not match (RFC 9110: the method was not performed), an
  internal error.
- A request that arrives while the first one is running waits for its response, where the draft answers 409:
  the client would only have to retry.
- Key and response are written in the transaction of the command and kept for IDEMPOTENCY_RETENTION_DAYS.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request, Response
from pydantic import Field
from snsqs import WireModel
from snsqs.postgres import Transaction
from snsqs.retention import Expiry

from shared.runtime.settings import EnvironmentSettings
from shared.web import Problem, header

# Waits for a transaction that holds the key. A key that was stored before returns its response.
CLAIM = """
    INSERT INTO idempotency_key (key, fingerprint)
    VALUES ($1, $2)
    ON CONFLICT (key) DO UPDATE SET key = excluded.key
    RETURNING fingerprint, status, headers, body
"""

STORE_RESPONSE = "UPDATE idempotency_key SET status = $2, headers = $3, body = $4 WHERE key = $1"

# The draft's String, or its content without the quotes, which is how most clients send it.
_KEY = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-~]{1,255})')


KEY = header(
    "Idempotency-Key", "Repeat the response of an earlier request with the same key", f"^({_KEY.pattern})$"
)
"""The header in the OpenAPI document."""


@dataclass(frozen=True)
class IdempotencyKey:
    """The key of one request."""

    value: str
    fingerprint: bytes
    """SHA-256 of method, path and parsed body."""


def idempotency_key(request: Request, body: WireModel | None) -> IdempotencyKey | None:
    """Return the request's key, or None without the header. Raises Problem 400 for a malformed header."""
    lines = request.headers.getlist("idempotency-key")
    if not lines:
        return None
    match = _KEY.fullmatch(lines[0]) if len(lines) == 1 else None
    if match is None:
        raise Problem(400, "Idempotency-Key must be one text of 1 to 255 visible characters, such as a UUID")
    content = body.model_dump_json() if body else ""
    digest = hashlib.sha256(f"{request.method} {request.url.path} {content}".encode()).digest()
    return IdempotencyKey(match[1] or match[2], digest)


async def idempotent(
    key: IdempotencyKey, tx: Transaction, respond: Callable[[], Awaitable[Response]]
) -> Response:
    """Return the response stored under the key; if there is none, the one of `respond`, and store it.

    `respond` runs in `tx`; a concurrent request with the same key waits until `tx` ends. Raises Problem 422
    when the key was used for another request, and what `respond` raises.
    """
    stored = await tx.connection.fetchrow(CLAIM, key.value, key.fingerprint)
    assert stored is not None
    if stored["fingerprint"] != key.fingerprint:
        raise Problem(422, "the Idempotency-Key was used for another request; send a new key")
    if stored["status"] is not None:
        return Response(stored["body"], stored["status"], stored["headers"])
    response = await respond()
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    body = bytes(response.body).decode()
    await tx.connection.execute(STORE_RESPONSE, key.value, response.status_code, headers, body)
    return response


def idempotency_keys(days: int) -> Expiry:
    """Expire keys and their stored responses `days` after the first request."""
    return Expiry("idempotency_key", "created_at", days)


class IdempotencySettings(EnvironmentSettings):
    """Settings of a service that accepts Idempotency-Key."""

    idempotency_retention_days: int = Field(7, ge=1, le=36_500)
    """Days for which a key and its response are stored."""

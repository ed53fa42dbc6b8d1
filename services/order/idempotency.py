"""Idempotency keys: a command that is sent again is not done again; it gets its first answer again.

After "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header-07). Where the
draft leaves a choice, or where we differ:

- A key stands for one request: its method, its path, and what its body says, however it is spelled. Sent
  with another request it is a 422. There are no accounts here, so a key is the whole service's.
- Remembered is what the order said, "success or an error": done, or not allowed (409). Whatever never got
  so far is forgotten, and its key is free: a malformed request, an unknown order, a version that
  does not match (RFC 9110: the method was not performed), and what failed here.
- A request that comes while the first is under way waits for its answer, where the draft has a 409: the
  client would have to come back for the same thing.
- Key and answer are written in the transaction of the command. They are kept IDEMPOTENCY_RETENTION_DAYS.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from pydantic import Field
from snsqs import WireModel
from snsqs.postgres import Transaction
from snsqs.retention import Expiry

from services.order.answer import Answer
from services.order.order import NotAllowed, Order
from shared.runtime.settings import EnvironmentSettings
from shared.web import Problem
from shared.web.database import database
from shared.web.openapi import header, with_headers

Command = Callable[[Transaction], Awaitable[Order]]

# Waits for a transaction that has the key. A key that is answered already comes back with its answer.
CLAIM = """
    INSERT INTO idempotency_key (key, fingerprint)
    VALUES ($1, $2)
    ON CONFLICT (key) DO UPDATE SET key = excluded.key
    RETURNING fingerprint, status, headers, body
"""

REMEMBER = "UPDATE idempotency_key SET status = $2, headers = $3, body = $4 WHERE key = $1"

# As an array the keys are read once; a sub-select could be run again, and delete more than $2.
DELETE_OLD = """
    WITH deleted AS (
        DELETE FROM idempotency_key
        WHERE key = ANY (ARRAY(
            SELECT key
            FROM idempotency_key
            WHERE created_at < now() - $1::interval
            ORDER BY created_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING key
    )
    SELECT count(*) FROM deleted
"""

# The draft's String, or what is in it without the quotes, which is how most clients send it.
_KEY = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-~]{1,255})')


KEYED = with_headers(
    header("Idempotency-Key", "Sent again with the same key, it is not done again", f"^({_KEY.pattern})$")
)
"""For the `openapi_extra` of an endpoint that answers with `once`."""


async def once(
    request: Request, command: Command, *, given: WireModel | None = None, status: int = 200
) -> Response:
    """Carries out a request's command in a transaction of its own and answers with the order; when the
    request has an Idempotency-Key, only the first time. `given` is the request's body.

    Raises Problem, and what the command raises.
    """
    key = _key(request.headers.getlist("idempotency-key"))
    async with database(request).transaction() as tx:
        if key is None:
            answer = Answer.done(await command(tx), status)
        else:
            answer = await _answer(key, _fingerprint(request, given), command, status, tx)
    return answer.response()


async def _answer(key: str, fingerprint: bytes, command: Command, status: int, tx: Transaction) -> Answer:
    claimed = await tx.connection.fetchrow(CLAIM, key, fingerprint)
    assert claimed is not None
    if claimed["fingerprint"] != fingerprint:
        raise Problem(422, "the Idempotency-Key was used for another request: a new one needs a new key")
    if claimed["status"] is not None:
        return Answer(claimed["status"], claimed["headers"], claimed["body"])
    answer = await _carried_out(command, status, tx)
    await tx.connection.execute(REMEMBER, key, answer.status, answer.headers, answer.body)
    return answer


def _fingerprint(request: Request, given: WireModel | None) -> bytes:
    body = given.model_dump_json() if given else ""
    return hashlib.sha256(f"{request.method} {request.url.path} {body}".encode()).digest()


async def _carried_out(command: Command, status: int, tx: Transaction) -> Answer:
    try:
        async with tx.connection.transaction():  # of a refused command nothing stays but its answer
            return Answer.done(await command(tx), status)
    except NotAllowed as error:
        return Answer.refused(error)


def _key(lines: list[str]) -> str | None:
    if not lines:
        return None
    match = _KEY.fullmatch(lines[0]) if len(lines) == 1 else None
    if match is None:
        raise Problem(400, "Idempotency-Key must be one text of 1 to 255 visible characters, such as a UUID")
    return match[1] or match[2]


def idempotency_keys(days: int) -> Expiry:
    """Deletes the keys, and the answers to them, that were first sent so many days ago."""
    return Expiry("idempotency keys", DELETE_OLD, days)


class IdempotencySettings(EnvironmentSettings):
    """Part of the settings of a service whose commands are sent under keys."""

    idempotency_retention_days: int = Field(7, ge=1, le=36_500)
    """Days that a key is remembered, with the answer to it."""

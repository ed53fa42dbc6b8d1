"""REST API of the newest handled versions: list and repair those of an aggregate."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Query
from pydantic import Field
from snsqs import MAX_VERSION, WireModel
from snsqs.inbox import HandledVersion, handled_versions, set_handled_version

from shared.operations.listener_control import ControlDependency, Queue
from shared.operations.selection import Name
from shared.web import AnyAccess, DatabaseDependency, Integral, Operator, RequestModel, problems

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/handled-versions", tags=["handled versions"])

OrderId = Annotated[Name, Query(alias="orderId")]


class VersionRepair(RequestModel):
    """The version of an order that counts as the newest one handled."""

    order_id: Name
    version: Annotated[int, Field(strict=True, ge=0, lt=MAX_VERSION + 1), Integral]
    source: Annotated[str, Field(pattern=r"^[\x21-\x7e]{0,256}$")]
    """Service that publishes the order's events; empty for messages without a source."""


class RepairedVersion(WireModel):
    """Newest handled version before and after the repair; `before` is null if there was none."""

    before: int | None
    after: int


@router.get("", dependencies=[AnyAccess], summary="List the newest handled versions of an order")
async def read(order_id: OrderId, db: DatabaseDependency) -> list[HandledVersion]:
    async with db.connection() as connection:
        return await handled_versions(connection, order_id)


@router.put("/{queue}", responses=problems(404), summary="Repair the newest handled version of an order")
async def repair(
    queue: Queue,
    body: VersionRepair,
    db: DatabaseDependency,
    control: ControlDependency,
    operator: Operator,
) -> RepairedVersion:
    """The next message with a greater version is handled, also one that was superseded before, once it is
    sent again."""
    control.require(queue)
    async with db.transaction() as tx:
        before = await set_handled_version(
            tx.connection, queue, body.order_id, body.version, source=body.source
        )
    about = {"queue": queue, "order_id": body.order_id, "source": body.source}
    log.warning("version repaired", before=before, after=body.version, by=operator, **about)
    return RepairedVersion(before=before, after=body.version)

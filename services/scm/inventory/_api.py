"""Back office: the stock."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field

from shared.domain_event import Integral, WireModel
from shared.web import DatabaseDependency, OperatorAccess, Problem, problems

router = APIRouter(prefix="/back-office/stock", tags=["back office"])

STOCK = """
    SELECT sku, on_hand, reserved, on_hand - reserved AS available
    FROM stock
    WHERE sku > $1
    ORDER BY sku
    LIMIT $2
"""

# The count of a stocktaking replaces what was there; what is set aside for orders stays set aside.
COUNTED = """
    INSERT INTO stock (sku, on_hand)
    VALUES ($1, $2)
    ON CONFLICT (sku) DO UPDATE SET on_hand = excluded.on_hand WHERE stock.reserved <= excluded.on_hand
    RETURNING sku, on_hand, reserved, on_hand - reserved AS available
"""

Sku = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Counted(WireModel):
    model_config = ConfigDict(extra="forbid")

    on_hand: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000), Integral]


class Stock(WireModel):
    """Pieces of one article: in the warehouse, of these set aside for orders, and free."""

    sku: str
    on_hand: int
    reserved: int
    available: int


@router.put(
    "/{sku}",
    dependencies=[OperatorAccess],
    responses=problems(409),
    summary="Set what was counted in the warehouse",
)
async def count(sku: Sku, body: Counted, db: DatabaseDependency) -> Stock:
    async with db.transaction() as tx:
        row = await tx.connection.fetchrow(COUNTED, sku, body.on_hand)
    if row is None:
        raise Problem(409, f"more than {body.on_hand} of {sku} are set aside for orders")
    return Stock(**dict(row))


@router.get("", summary="The stock, article by article")
async def stock(
    db: DatabaseDependency,
    after: Annotated[
        str, Query(pattern=r"^[A-Za-z0-9._-]{0,64}$", description="the last sku of the page before")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Stock]:
    async with db.connection() as connection:
        return [Stock(**dict(row)) for row in await connection.fetch(STOCK, after, limit)]

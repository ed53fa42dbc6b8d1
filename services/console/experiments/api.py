"""REST API of the page's demo and experiment buttons. Mounted in development only."""

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import Field
from snsqs import WireModel

from services.console.experiments.experiment import Busy, Laboratory, Report, UnknownExperiment
from services.console.experiments.queue import QUEUE, QueueMissing
from shared.runtime.service_client import ServiceUnavailable
from shared.web import ErrorStatuses, OperatorAccess, RequestModel, component

router = APIRouter(prefix="/api", include_in_schema=False)


LaboratoryDependency = Annotated[Laboratory, component(Laboratory)]
Authorization = Annotated[str, Header(include_in_schema=False)]

STATUSES: ErrorStatuses = {UnknownExperiment: 404, Busy: 409, QueueMissing: 503}


class Burst(RequestModel):
    count: Annotated[int, Field(strict=True, ge=1, le=200)] = 1


class Bought(WireModel):
    """The ids of the orders, placed and paid."""

    orders: list[str]


class Sent(WireModel):
    """The queue that the malformed message was sent to."""

    queue: str


class Experiments(WireModel):
    experiments: list[Report]


@router.post(
    "/demo/orders", status_code=201, dependencies=[OperatorAccess], summary="Place and pay demo orders"
)
async def buy(body: Burst, laboratory: LaboratoryDependency, authorization: Authorization) -> Bought:
    """Also while SCM is down; it stocks the demo article when it is up."""
    with suppress(ServiceUnavailable):
        await laboratory.customers.stock(authorization)
    return Bought(orders=await laboratory.customers.buy_many(body.count))


@router.post(
    "/demo/bad-message",
    status_code=201,
    dependencies=[OperatorAccess],
    summary="Send SCM a malformed message",
)
async def bad_message(laboratory: LaboratoryDependency) -> Sent:
    await laboratory.queue.send_malformed()
    return Sent(queue=QUEUE)


@router.get("/experiments", summary="Experiments with their predictions and verdicts")
async def experiments(laboratory: LaboratoryDependency) -> Experiments:
    return Experiments(experiments=laboratory.reports())


@router.post(
    "/experiments/{name}",
    status_code=202,
    dependencies=[OperatorAccess],
    summary="Cause a fault and measure its effect",
)
async def begin(name: str, laboratory: LaboratoryDependency, authorization: Authorization) -> Report:
    return laboratory.start(name, authorization)

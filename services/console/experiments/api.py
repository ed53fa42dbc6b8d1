"""What the page's demo and fault buttons call. Mounted in development only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from pydantic import Field
from snsqs import WireModel

from services.console.experiments.experiment import Busy, Laboratory, Report, UnknownExperiment
from services.console.experiments.letterbox import QUEUE, NoQueue
from shared.runtime.service_client import RequestRejected, ServiceUnavailable
from shared.web import OperatorAccess, Problem, RequestModel

router = APIRouter(prefix="/api", include_in_schema=False)


def _laboratory(request: Request) -> Laboratory:
    found: Laboratory = request.app.state.laboratory
    return found


LaboratoryDependency = Annotated[Laboratory, Depends(_laboratory)]
Authorization = Annotated[str, Header(include_in_schema=False)]


class Burst(RequestModel):
    count: Annotated[int, Field(strict=True, ge=1, le=200)] = 1


class Bought(WireModel):
    """The ids of the orders, placed and paid."""

    orders: list[str]


class Sent(WireModel):
    """Where the bad message went."""

    queue: str


class Experiments(WireModel):
    experiments: list[Report]


@router.post(
    "/demo/orders", status_code=201, dependencies=[OperatorAccess], summary="Place and pay demo orders"
)
async def buy(body: Burst, laboratory: LaboratoryDependency, authorization: Authorization) -> Bought:
    with _told():
        await laboratory.customers.stock(authorization)
        return Bought(orders=await laboratory.customers.buy_many(body.count))


@router.post(
    "/demo/bad-message",
    status_code=201,
    dependencies=[OperatorAccess],
    summary="Send SCM what no handler can read",
)
async def bad_message(laboratory: LaboratoryDependency) -> Sent:
    with _told():
        await laboratory.letterbox.poison()
    return Sent(queue=QUEUE)


@router.get("/experiments", summary="The faults that can be caused, their predictions and verdicts")
async def experiments(laboratory: LaboratoryDependency) -> Experiments:
    return Experiments(experiments=laboratory.reports())


@router.post(
    "/experiments/{name}",
    status_code=202,
    dependencies=[OperatorAccess],
    summary="Cause a fault, and measure what comes of it",
)
async def begin(name: str, laboratory: LaboratoryDependency, authorization: Authorization) -> Report:
    with _told():
        return laboratory.start(name, authorization)


@contextmanager
def _told() -> Iterator[None]:
    """Translates what the laboratory cannot do into answers."""
    try:
        yield
    except UnknownExperiment as error:
        raise Problem(404, str(error)) from error
    except Busy as error:
        raise Problem(409, str(error)) from error
    except (ServiceUnavailable, RequestRejected, NoQueue) as error:
        raise Problem(503, str(error)) from error

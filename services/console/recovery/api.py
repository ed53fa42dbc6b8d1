"""The REST API of recovery. All of it is the operators': even a look takes letters out of others' sight."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from snsqs.aws import transient_errors

from services.console.recovery.audit import AuditUnavailable, Record
from services.console.recovery.consumers import Paused
from services.console.recovery.operation import Busy, Operation, UnknownOperation
from services.console.recovery.queues import PassesOn, UnknownQueue
from services.console.recovery.recovery import Found, Recovery
from services.console.recovery.redrive import Discard, Redrive
from services.console.recovery.replay import Replay
from services.console.recovery.services import (
    AllListeners,
    ParkedEvents,
    Person,
    Resubmit,
    Resubmitted,
    ServiceListener,
    UnknownService,
)
from shared.operations.listener_control import Queue
from shared.operations.selection import Filter, Name
from shared.runtime.service_client import RequestRejected, ServiceUnavailable
from shared.web import Operator, OperatorAccess, Problem, problems

router = APIRouter(prefix="/api", tags=["recovery"], dependencies=[OperatorAccess])

_REFUSALS = {
    UnknownQueue: 404,
    UnknownOperation: 404,
    UnknownService: 404,
    Busy: 409,
    PassesOn: 409,
    Paused: 409,
    AuditUnavailable: 503,
    ServiceUnavailable: 503,
}


async def _recovery(request: Request) -> AsyncIterator[Recovery]:
    """What it refuses becomes a problem."""
    try:
        yield request.app.state.recovery
    except tuple(_REFUSALS) as error:
        raise Problem(_REFUSALS[type(error)], str(error)) from error
    except RequestRejected as error:
        raise Problem(error.status, str(error)) from error
    except transient_errors() as error:
        raise Problem(503, f"SNS and SQS cannot be asked: {error}") from error


RecoveryDependency = Annotated[Recovery, Depends(_recovery)]


def _person(request: Request, operator: Operator) -> Person:
    return Person(operator, {"authorization": request.headers["authorization"]})


PersonDependency = Annotated[Person, Depends(_person)]


class Browse(Filter):
    """What is to be shown."""

    queue: Name | None = None
    """A dead-letter queue, or the queue that it serves; else all."""
    limit: int = Field(50, ge=1, le=500)
    """Letters of each queue."""


@router.get("/dead-letters", responses=problems(404), summary="Look at dead letters without consuming them")
async def browse(wanted: Annotated[Browse, Query()], recovery: RecoveryDependency) -> Found:
    """Waits a second for what SQS may still have. While it looks, others do not see these letters."""
    return await recovery.browse(wanted.queue, wanted, wanted.limit)


@router.post(
    "/dead-letters/redrive",
    status_code=202,
    responses=problems(404, 409),
    summary="Send dead letters back to their queue",
)
async def redrive(
    command: Redrive, response: Response, operator: Operator, recovery: RecoveryDependency
) -> Operation:
    """Begins; the operation under `Location` tells how far it is."""
    return _begun(await recovery.remove(command, operator), response)


@router.post(
    "/dead-letters/discard", status_code=202, responses=problems(404, 409), summary="Delete dead letters"
)
async def discard(
    command: Discard, response: Response, operator: Operator, recovery: RecoveryDependency
) -> Operation:
    """Begins; the operation under `Location` tells how far it is."""
    return _begun(await recovery.remove(command, operator), response)


@router.post(
    "/replay",
    status_code=202,
    responses=problems(404, 409),
    summary="Send events again that were sent before, and prove that it changed nothing",
)
async def replay(
    command: Replay, response: Response, person: PersonDependency, recovery: RecoveryDependency
) -> Operation:
    """Begins; the operation under `Location` tells how far it is, and in the end its `proof`: checksums of
    what the services that consume the events had stored before and have after."""
    return _begun(await recovery.replays.start(command, person), response)


class ReadParked(Filter):
    """What is to be shown."""

    service: Name | None = None
    """Else all."""
    limit: int = Field(100, ge=1, le=1_000)
    """Events of each service."""


@router.get(
    "/parked", responses=problems(404), summary="Events that failed too often to be tried again by themselves"
)
async def parked(
    wanted: Annotated[ReadParked, Query()], person: PersonDependency, recovery: RecoveryDependency
) -> ParkedEvents:
    criteria = Filter(**wanted.model_dump(exclude={"service", "limit"}))
    return await recovery.services.parked(criteria, wanted.limit, wanted.service, person)


@router.post(
    "/parked/resubmit", responses=problems(404), summary="Let parked events wait to be relayed again"
)
async def resubmit(command: Resubmit, person: PersonDependency, recovery: RecoveryDependency) -> Resubmitted:
    return await recovery.services.resubmit(command, person)


@router.get("/listeners", summary="The listeners of all services, and which of them are paused")
async def listeners(person: PersonDependency, recovery: RecoveryDependency) -> AllListeners:
    return await recovery.services.listeners(person)


@router.post(
    "/listeners/{service}/{queue}/{what}", responses=problems(404), summary="Pause or resume a listener"
)
async def change_listener(
    service: Name,
    queue: Queue,
    what: Literal["pause", "resume"],
    person: PersonDependency,
    recovery: RecoveryDependency,
) -> ServiceListener:
    """On all instances of the service, and until it is resumed. What was received is still handled."""
    return await recovery.services.change(what, service, queue, person)


@router.get("/operations", summary="What runs, and the last that ran, newest first")
async def operations(recovery: RecoveryDependency) -> list[Operation]:
    return recovery.operations.all()


@router.get("/operations/{operation_id}", responses=problems(404), summary="How far an operation is")
async def operation(operation_id: str, recovery: RecoveryDependency) -> Operation:
    return recovery.operations.known(operation_id)


@router.post(
    "/operations/{operation_id}/cancel",
    responses=problems(404),
    summary="End an operation after what it has begun",
)
async def cancel(operation_id: str, recovery: RecoveryDependency) -> Operation:
    return recovery.operations.cancel(operation_id)


@router.get("/audit", summary="Who did what to the messages, newest first")
async def audit(
    recovery: RecoveryDependency, limit: Annotated[int, Query(ge=1, le=1_000)] = 100
) -> list[Record]:
    return await recovery.audit.last(limit)


def _begun(operation: Operation, response: Response) -> Operation:
    response.headers["location"] = f"/api/operations/{operation.id}"
    return operation

"""REST API of recovery, for operators only: even browsing hides messages until their visibility timeout
ends."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from snsqs.aws import transient_errors

from services.console.queues import UnknownQueue
from services.console.recovery.audit import Audit, AuditUnavailable, Record
from services.console.recovery.consumers import Paused
from services.console.recovery.dead_letters import Browsed, DeadLetters, HasRedrivePolicy
from services.console.recovery.held_back import HeldBackEvents, Release, ReleasedEvents
from services.console.recovery.operation import Operation
from services.console.recovery.operations import Busy, Operations, UnknownOperation
from services.console.recovery.redrive import Discard, Redrive
from services.console.recovery.replay import Replay, Replays
from services.console.recovery.services import (
    AllListeners,
    HandledVersions,
    OperatorIdentity,
    ParkedEvents,
    RepairVersion,
    Resubmit,
    ServiceListener,
    Services,
)
from shared.operations.event_log_api import Resubmitted
from shared.operations.handled_versions_api import OrderId, RepairedVersion
from shared.operations.listener_control import Queue
from shared.operations.selection import Filter, Name
from shared.web import (
    PAGED,
    ErrorStatuses,
    Limit,
    Operator,
    OperatorAccess,
    Problem,
    component,
    link_next,
    problems,
    response_headers,
)

router = APIRouter(prefix="/api", tags=["recovery"], dependencies=[OperatorAccess])

_STARTED = {**response_headers(202, "Location"), **problems(404, 409)}

STATUSES: ErrorStatuses = {
    UnknownQueue: 404,
    UnknownOperation: 404,
    Busy: 409,
    HasRedrivePolicy: 409,
    Paused: 409,
    AuditUnavailable: 503,
}


async def _aws_errors() -> AsyncIterator[None]:
    try:
        yield
    except transient_errors() as error:
        raise Problem(503, f"SNS or SQS unavailable: {error}") from error


def _identity(request: Request, operator: Operator) -> OperatorIdentity:
    return OperatorIdentity(operator, {"authorization": request.headers["authorization"]})


AwsErrors = Depends(_aws_errors)
IdentityDependency = Annotated[OperatorIdentity, Depends(_identity)]
DeadLettersDependency = Annotated[DeadLetters, component(DeadLetters)]
ReplaysDependency = Annotated[Replays, component(Replays)]
HeldBackDependency = Annotated[HeldBackEvents, component(HeldBackEvents)]
ServicesDependency = Annotated[Services, component(Services)]
OperationsDependency = Annotated[Operations, component(Operations)]
AuditDependency = Annotated[Audit, component(Audit)]


class Browse(Filter):
    """Query of dead letters."""

    queue: Name | None = None
    """A dead-letter queue, or the queue that it serves; all by default."""
    limit: int = Field(50, ge=1, le=500)
    """Maximum number for each queue."""


@router.get(
    "/dead-letters",
    dependencies=[AwsErrors],
    responses=problems(404),
    summary="Browse dead letters without consuming them",
)
async def browse(wanted: Annotated[Browse, Query()], dead_letters: DeadLettersDependency) -> Browsed:
    """Takes at least a second, the wait of the last receive. Meanwhile other receivers do not see them."""
    return await dead_letters.browse(wanted.queue, wanted, wanted.limit)


@router.post(
    "/dead-letters/redrive",
    status_code=202,
    dependencies=[AwsErrors],
    responses=_STARTED,
    summary="Send dead letters back to their queue",
)
async def redrive(
    command: Redrive, response: Response, operator: Operator, dead_letters: DeadLettersDependency
) -> Operation:
    """Starts an operation; the resource under `Location` has its progress."""
    return _started(await dead_letters.remove(command, operator), response)


@router.post(
    "/dead-letters/discard",
    status_code=202,
    dependencies=[AwsErrors],
    responses=_STARTED,
    summary="Delete dead letters",
)
async def discard(
    command: Discard, response: Response, operator: Operator, dead_letters: DeadLettersDependency
) -> Operation:
    """Starts an operation; the resource under `Location` has its progress."""
    return _started(await dead_letters.remove(command, operator), response)


@router.post(
    "/replay",
    status_code=202,
    dependencies=[AwsErrors],
    responses=_STARTED,
    summary="Send events again that were forwarded before, and prove that no state changed",
)
async def replay(
    command: Replay, response: Response, operator: IdentityDependency, replays: ReplaysDependency
) -> Operation:
    """Starts an operation; the resource under `Location` has its progress, and in the end its `proof`:
    checksums of the consuming services before and after."""
    return _started(await replays.start(command, operator), response)


class ReadParked(Filter):
    """Query of parked events."""

    service: Name | None = None
    """All by default."""
    limit: int = Field(100, ge=1, le=1_000)
    """Maximum number for each service."""


@router.get(
    "/parked", responses=problems(404), summary="Events that failed too often to be retried automatically"
)
async def parked(
    wanted: Annotated[ReadParked, Query()], operator: IdentityDependency, services: ServicesDependency
) -> ParkedEvents:
    criteria = Filter(**wanted.model_dump(exclude={"service", "limit"}))
    return await services.parked(criteria, wanted.limit, wanted.service, operator)


@router.post("/parked/resubmit", responses=problems(404), summary="Relay parked events again")
async def resubmit(
    command: Resubmit, operator: IdentityDependency, services: ServicesDependency
) -> Resubmitted:
    return await services.resubmit(command, operator)


@router.post(
    "/held-back/release", responses=problems(404), summary="Decide again on events that were held back"
)
async def release_held_back(
    command: Release, operator: IdentityDependency, held_back: HeldBackDependency
) -> ReleasedEvents:
    """Of events that no route matched, unless `rule` names another rule. A dry run shows the decisions of the
    present routes."""
    return await held_back.release(command, operator)


@router.get("/listeners", summary="The listeners of all services, and which of them are paused")
async def listeners(operator: IdentityDependency, services: ServicesDependency) -> AllListeners:
    return await services.listeners(operator)


@router.post(
    "/listeners/{service}/{queue}/{what}", responses=problems(404), summary="Pause or resume a listener"
)
async def change_listener(
    service: Name,
    queue: Queue,
    what: Literal["pause", "resume"],
    operator: IdentityDependency,
    services: ServicesDependency,
) -> ServiceListener:
    """On all instances of the service, until it is resumed. Messages already received are still handled."""
    return await services.change(what, service, queue, operator)


@router.get("/handled-versions", summary="Newest versions of an order that the services have handled")
async def versions(
    order_id: OrderId, operator: IdentityDependency, services: ServicesDependency
) -> HandledVersions:
    return await services.versions(order_id, operator)


@router.post(
    "/handled-versions/repair",
    responses=problems(404),
    summary="Repair the newest handled version of an order",
)
async def repair_version(
    command: RepairVersion, operator: IdentityDependency, services: ServicesDependency
) -> RepairedVersion:
    """After a message with a wrong version was handled. Then replay the order's events: those that it
    superseded are handled."""
    return await services.repair_version(command, operator)


@router.get("/operations", responses={**PAGED, **problems(404)}, summary="Operations, newest first")
async def read_operations(
    request: Request,
    response: Response,
    operations: OperationsDependency,
    limit: Limit = 100,
    after: Annotated[str | None, Query(description="id of the last operation of the page before")] = None,
) -> list[Operation]:
    """Of all instances of the console. A `Link` header leads to the next page."""
    found = await operations.page(limit, after)
    if len(found) == limit:
        link_next(request, response, after=found[-1].id)
    return found


@router.get("/operations/{operation_id}", responses=problems(404), summary="Progress of an operation")
async def read_operation(operation_id: str, operations: OperationsDependency) -> Operation:
    return await operations.get(operation_id)


@router.post(
    "/operations/{operation_id}/cancel",
    responses=problems(404),
    summary="End an operation after what it has begun",
)
async def cancel(operation_id: str, operations: OperationsDependency) -> Operation:
    """Takes effect within a second, also on another instance of the console."""
    return await operations.cancel(operation_id)


@router.get("/audit", responses=PAGED, summary="What operators did to the messages, newest or oldest first")
async def read_audit(
    request: Request,
    response: Response,
    audit: AuditDependency,
    limit: Limit = 100,
    after: Annotated[
        int | None, Query(ge=1, lt=2**63, description="position of the last record of the page before")
    ] = None,
    oldest_first: Annotated[bool, Query(alias="oldestFirst")] = False,
) -> list[Record]:
    """A `Link` header leads to the next page."""
    records = await audit.page(limit, after=after, oldest_first=oldest_first)
    if len(records) == limit:
        link_next(request, response, after=records[-1]["position"])
    return records


def _started(operation: Operation, response: Response) -> Operation:
    response.headers["location"] = f"/api/operations/{operation.id}"
    return operation

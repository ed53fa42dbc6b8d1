"""REST API of the registry."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from snsqs import WireModel

from services.console.registry.registry import (
    RegisteredService,
    Registry,
    State,
    StillRegistered,
    UnknownService,
)
from shared.operations.registration import InstanceName, Registration, ServiceName
from shared.web import ErrorStatuses, OperatorAccess, Problem, Service, component, problems

router = APIRouter(prefix="/api", tags=["services"])

STATUSES: ErrorStatuses = {UnknownService: 404, StillRegistered: 409}

RegistryDependency = Annotated[Registry, component(Registry)]


async def _require_own(service: Annotated[ServiceName, Path()], caller: Service) -> None:
    """Raise Problem 403 for the registration of another service, to which operators' tokens would be sent."""
    if caller != service:
        raise Problem(403, f"the token is that of {caller}, which may register itself only, not {service}")


OwnRegistration = Depends(_require_own)


class Registered(WireModel):
    """State of a registration after the request."""

    service: str
    instance: str
    state: State


@router.get("/services", summary="Registered services and their instances")
async def services(registry: RegistryDependency) -> list[RegisteredService]:
    """By name. The last instance of a service stays in the list after it has stopped."""
    return await registry.services()


@router.put(
    "/registrations/{service}/{instance}",
    dependencies=[OwnRegistration],
    responses=problems(403, 422),
    summary="Register an instance, or renew its registration",
)
async def register(
    service: Annotated[ServiceName, Path()],
    instance: Annotated[InstanceName, Path()],
    registration: Registration,
    registry: RegistryDependency,
) -> Registered:
    """Renew it every ten seconds; after thirty it is stale. Operators' requests are sent to its URL with the
    operator's token."""
    if (registration.service, registration.instance) != (service, instance):
        raise Problem(422, f"the body is the registration of {registration.service}/{registration.instance}")
    await registry.register(registration)
    return Registered(service=service, instance=instance, state="registered")


@router.delete(
    "/registrations/{service}/{instance}",
    dependencies=[OwnRegistration],
    responses=problems(403),
    summary="Deregister an instance that stops",
)
async def deregister(
    service: Annotated[ServiceName, Path()],
    instance: Annotated[InstanceName, Path()],
    registry: RegistryDependency,
) -> Registered:
    """The last instance of a service is kept as stopped, so that the service is known to be down."""
    await registry.deregister(service, instance)
    return Registered(service=service, instance=instance, state="stopped")


@router.delete(
    "/services/{service}",
    dependencies=[OperatorAccess],
    responses=problems(404, 409),
    status_code=204,
    summary="Remove a service that no longer exists",
)
async def remove(service: Annotated[ServiceName, Path()], registry: RegistryDependency) -> None:
    """Rejected while one of its instances runs. Queues that it has left subscribed are foreign afterwards."""
    await registry.remove(service)

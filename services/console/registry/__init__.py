"""Registry: the services that make up the system, and their instances, as they register themselves."""

from services.console.registry.api import STATUSES, router
from services.console.registry.registry import (
    Instance,
    RegisteredService,
    Registry,
    UnknownService,
)

__all__ = ["STATUSES", "Instance", "RegisteredService", "Registry", "UnknownService", "router"]

"""`make new-service`: add a service to this repository that handles and publishes events."""

from local.new_service.generator import CannotCreate, create_service

__all__ = ["CannotCreate", "create_service"]

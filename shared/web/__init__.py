"""The web edge of every service: errors as problem details, bounded bodies, health, metrics."""

from shared.web.application import application
from shared.web.database import DatabaseDependency
from shared.web.health import health_router
from shared.web.pages import link_next
from shared.web.problem import Problem

__all__ = ["DatabaseDependency", "Problem", "application", "health_router", "link_next"]

"""The web edge of every service: access, errors as problem details, bounded bodies, health, metrics."""

from shared.web.access import (
    OPTIONAL_TOKEN,
    Access,
    AnyAccess,
    Operator,
    OperatorAccess,
    PerhapsOperator,
    ServiceAccess,
)
from shared.web.application import application
from shared.web.database import DatabaseDependency
from shared.web.health import health_router
from shared.web.moment import Day, Moment, Timestamp
from shared.web.openapi import problems
from shared.web.pages import Limit, link_next
from shared.web.problem import Problem

__all__ = [
    "OPTIONAL_TOKEN",
    "Access",
    "AnyAccess",
    "DatabaseDependency",
    "Day",
    "Limit",
    "Moment",
    "Operator",
    "OperatorAccess",
    "PerhapsOperator",
    "Problem",
    "ServiceAccess",
    "Timestamp",
    "application",
    "health_router",
    "link_next",
    "problems",
]

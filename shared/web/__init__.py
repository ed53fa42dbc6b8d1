"""HTTP edge of a service: application, authentication, problem details, request limits, health, metrics."""

from shared.web.access import (
    OPTIONAL_TOKEN,
    Access,
    AnyAccess,
    Operator,
    OperatorAccess,
    PerhapsOperator,
    ServiceAccess,
)
from shared.web.application import Gauges, application
from shared.web.components import (
    ComponentMissing,
    Components,
    DatabaseDependency,
    component,
    components,
    database,
)
from shared.web.health import health_router
from shared.web.moment import Day, Moment, Timestamp
from shared.web.openapi import problems
from shared.web.pages import Limit, link_next
from shared.web.problem import ErrorStatuses, Problem, map_errors

__all__ = [
    "OPTIONAL_TOKEN",
    "Access",
    "AnyAccess",
    "ComponentMissing",
    "Components",
    "DatabaseDependency",
    "Day",
    "ErrorStatuses",
    "Gauges",
    "Limit",
    "Moment",
    "Operator",
    "OperatorAccess",
    "PerhapsOperator",
    "Problem",
    "ServiceAccess",
    "Timestamp",
    "application",
    "component",
    "components",
    "database",
    "health_router",
    "link_next",
    "map_errors",
    "problems",
]

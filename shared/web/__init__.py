"""HTTP edge of a service: application, authentication, problem details, request limits, health, metrics."""

from shared.web._access import (
    OPTIONAL_TOKEN,
    Access,
    AnyAccess,
    AnyCaller,
    Caller,
    Operator,
    OperatorAccess,
    OptionalOperator,
    ReaderAccess,
    Service,
    partner_access,
)
from shared.web._application import Gauges, application
from shared.web._bounded_http import IDLE_TIMEOUT, MAX_CONNECTIONS, BoundedHttp
from shared.web._components import (
    ComponentMissing,
    Components,
    DatabaseDependency,
    component,
    components,
    database,
)
from shared.web._entity_tag import IF_MATCH, IF_NONE_MATCH, Preconditions, content_tag, preconditions
from shared.web._health import Monitored, health_router
from shared.web._openapi import PAGED, header, operation_id, problems, response_headers, with_headers
from shared.web._problem import ErrorStatuses, Problem, add_problem_handlers, map_errors
from shared.web._request import (
    ClampedTimestamp,
    Day,
    Integral,
    Limit,
    RequestModel,
    Timestamp,
    clamp_time,
    link_next,
    media_type,
)
from shared.web._request_guard import RequestGuard
from shared.web._request_limits import MAX_REQUESTS

__all__ = [
    "IDLE_TIMEOUT",
    "IF_MATCH",
    "IF_NONE_MATCH",
    "MAX_CONNECTIONS",
    "MAX_REQUESTS",
    "OPTIONAL_TOKEN",
    "PAGED",
    "Access",
    "AnyAccess",
    "AnyCaller",
    "BoundedHttp",
    "Caller",
    "ClampedTimestamp",
    "ComponentMissing",
    "Components",
    "DatabaseDependency",
    "Day",
    "ErrorStatuses",
    "Gauges",
    "Integral",
    "Limit",
    "Monitored",
    "Operator",
    "OperatorAccess",
    "OptionalOperator",
    "Preconditions",
    "Problem",
    "ReaderAccess",
    "RequestGuard",
    "RequestModel",
    "Service",
    "Timestamp",
    "add_problem_handlers",
    "application",
    "clamp_time",
    "component",
    "components",
    "content_tag",
    "database",
    "header",
    "health_router",
    "link_next",
    "map_errors",
    "media_type",
    "operation_id",
    "partner_access",
    "preconditions",
    "problems",
    "response_headers",
    "with_headers",
]

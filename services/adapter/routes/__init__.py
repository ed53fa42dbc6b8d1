"""Routes: the rules that decide which events leave, and as what, read from a file."""

from services.adapter.routes.file import RouteFile, RoutesInvalid, read_routes
from services.adapter.routes.route import NO_ROUTE, Decision, Route, RouteFailed, Routes

__all__ = [
    "NO_ROUTE",
    "Decision",
    "Route",
    "RouteFailed",
    "RouteFile",
    "Routes",
    "RoutesInvalid",
    "read_routes",
]

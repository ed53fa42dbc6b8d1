"""Routes: the rules that decide which events leave, read from a file."""

from services.adapter.routes.file import RouteFile, RoutesInvalid, read_routes
from services.adapter.routes.route import NO_ROUTE, Decision, Outcome, Route, Routes

__all__ = [
    "NO_ROUTE",
    "Decision",
    "Outcome",
    "Route",
    "RouteFile",
    "Routes",
    "RoutesInvalid",
    "read_routes",
]

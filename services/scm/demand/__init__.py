"""Demand: units ordered per article and day.

A second consumer of order events, on a queue of its own, independent of fulfilment.
"""

from services.scm.demand._api import router
from services.scm.demand._listener import on_order_completed
from services.scm.demand._store import TotalDemand, totals

__all__ = ["TotalDemand", "on_order_completed", "router", "totals"]

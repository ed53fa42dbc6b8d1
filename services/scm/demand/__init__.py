"""Demand: how much of each article is ordered, day by day.

A second consumer of the same events, on a queue of its own: it neither waits for fulfilment nor holds it up.
"""

from services.scm.demand._api import router
from services.scm.demand._listener import on_order_completed
from services.scm.demand._store import Total, totals

__all__ = ["Total", "on_order_completed", "router", "totals"]

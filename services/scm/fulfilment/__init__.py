"""Fulfilment: SCM's side of an order, and what SCM tells the world about it."""

from services.scm.fulfilment._fulfilment import Fulfilment, Quantity, Status
from services.scm.fulfilment._progress import record_goods_ordered, record_progress
from services.scm.fulfilment._store import find, is_known, page
from services.scm.fulfilment._withdrawal import withdraw

__all__ = [
    "Fulfilment",
    "Quantity",
    "Status",
    "find",
    "is_known",
    "page",
    "record_goods_ordered",
    "record_progress",
    "withdraw",
]

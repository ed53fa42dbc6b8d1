"""Fulfilment: SCM's side of an order, and the events that SCM publishes about it."""

from services.scm.fulfilment._fulfilment import PUBLISHED, Fulfilment, FulfilmentStatus, Quantity, quantities
from services.scm.fulfilment._progress import open_fulfilment, record_progress
from services.scm.fulfilment._store import find, is_known, page
from services.scm.fulfilment._withdrawal import withdraw

__all__ = [
    "PUBLISHED",
    "Fulfilment",
    "FulfilmentStatus",
    "Quantity",
    "find",
    "is_known",
    "open_fulfilment",
    "page",
    "quantities",
    "record_progress",
    "withdraw",
]

"""Fulfilment: SCM's side of an order, and what SCM tells the world about it."""

from services.scm.fulfilment._api import router
from services.scm.fulfilment._progress import record_goods_ordered, record_progress
from services.scm.fulfilment._store import is_known
from services.scm.fulfilment._withdrawal import withdraw

__all__ = ["is_known", "record_goods_ordered", "record_progress", "router", "withdraw"]

"""Fulfilment: SCM's side of an order, and what SCM tells the world about it."""

from services.scm.fulfilment._api import router
from services.scm.fulfilment._progress import record_goods_ordered, record_progress

__all__ = ["record_goods_ordered", "record_progress", "router"]

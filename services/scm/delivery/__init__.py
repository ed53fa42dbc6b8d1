"""Delivery: hands an order's goods to a carrier, under exactly one invoice."""

from services.scm.delivery._api import answer_delivery_errors, router
from services.scm.delivery._issuing import Delivery, void_invoice
from services.scm.delivery._orders import Orders, UnknownOrder

__all__ = ["Delivery", "Orders", "UnknownOrder", "answer_delivery_errors", "router", "void_invoice"]

"""Delivery: hands an order's goods to a carrier, under exactly one invoice."""

from services.scm.delivery._api import STATUSES, router
from services.scm.delivery._invoice import Invoice
from services.scm.delivery._issuing import Delivery, void_invoice
from services.scm.delivery._orders import Orders, UnknownOrder
from services.scm.delivery._store import live_of_orders, of_order

__all__ = [
    "STATUSES",
    "Delivery",
    "Invoice",
    "Orders",
    "UnknownOrder",
    "live_of_orders",
    "of_order",
    "router",
    "void_invoice",
]

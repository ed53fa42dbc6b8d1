"""Delivery: issues one live delivery invoice per order, with which a carrier takes the goods."""

from services.scm.delivery._api import STATUSES, router
from services.scm.delivery._invoice import Invoice
from services.scm.delivery._invoicing import DeliveryInvoicing, void_invoice
from services.scm.delivery._store import invoices_of_order, live_invoices_of_orders

__all__ = [
    "STATUSES",
    "DeliveryInvoicing",
    "Invoice",
    "invoices_of_order",
    "live_invoices_of_orders",
    "router",
    "void_invoice",
]

"""Experiments: demo orders, and real faults with a prediction. In development only."""

from services.console.experiments.api import STATUSES, router
from services.console.experiments.customers import Customers
from services.console.experiments.experiment import Laboratory
from services.console.experiments.queue import ExperimentQueue

__all__ = ["STATUSES", "Customers", "ExperimentQueue", "Laboratory", "router"]

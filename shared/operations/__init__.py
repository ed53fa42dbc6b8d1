"""Endpoints of a service for operators and the console: progress, listeners, event log, reconciliation."""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
"""Folder of the migrations of these endpoints, for every service with a database."""

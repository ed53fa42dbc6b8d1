"""Endpoints that show operators and the console what a service is doing."""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
"""Folder of the migrations of these endpoints, for every service with a database."""

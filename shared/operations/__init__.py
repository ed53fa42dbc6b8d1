"""Endpoints of a service for operators and the console.

- `progress`: outbox, listeners and recent activity of one instance
- `listener_control`: status, pause and resumption of listeners
- `handled_versions_api`: newest handled version of an aggregate, and its repair
- `event_log_api`, `event_search`: the event log and its parked events
- `reconciliation`, `checksum`: figures to compare services and points in time
- `selection`: criteria in requests of operators
- `recent_entries`, `tally`: bounded memory of activity
"""

from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
"""Folder of the migrations of these endpoints, for every service with a database."""

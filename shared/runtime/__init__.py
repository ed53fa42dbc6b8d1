"""Settings, tokens, telemetry, migrations and background tasks of a process."""

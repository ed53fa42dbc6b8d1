"""Orders and their bills: a service with SQLAlchemy, outbox and inbox."""

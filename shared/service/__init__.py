"""Process and composition of a service."""

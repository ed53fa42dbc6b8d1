"""The Console service: observes the messages of all services, and moves them for operators."""

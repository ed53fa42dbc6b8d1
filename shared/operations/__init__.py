"""Endpoints that show operators and the console what a service is doing."""

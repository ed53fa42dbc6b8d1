"""Foundations of a process, independent of each other and of HTTP servers:

- `settings`: environment variables
- `browser_requests`: recognition of requests of other sites
- `tokens`: bearer tokens of services and operators
- `telemetry`: logs, traces and metrics
- `background`: loops beside a web application
- `migration`: database schema
- `service_client`: HTTP client of other services
"""

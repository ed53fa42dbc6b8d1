"""The chassis of every service, in layers from low to high: `runtime`, `web`, `operations`, `service`."""

"""The REST API, version 1, and the route of the existing Android app."""

"""Serializers: the JSON of requests and responses. Class names and docstrings appear in the OpenAPI schema."""

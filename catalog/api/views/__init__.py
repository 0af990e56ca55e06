"""API endpoints, one file per resource. Class docstrings appear as descriptions in the OpenAPI schema."""

"""The OpenAPI schema of the API, and the check of a response against it."""

import json
from io import StringIO
from typing import Any

from django.core.management import call_command
from openapi_schema_validator import OAS31Validator, oas31_format_checker


def generate_schema() -> dict[str, Any]:
    """Generate the schema with validation; fails on warnings."""
    target = StringIO()
    call_command("spectacular", "--format", "openapi-json", "--validate", "--fail-on-warn", stdout=target)
    schema: dict[str, Any] = json.loads(target.getvalue())
    return schema


def assert_matches_schema(schema: dict[str, Any], path: str, method: str, response: Any) -> None:
    """Check the body of a response against the schema of its path, method, status and content type."""
    declared = schema["paths"][path][method]["responses"][str(response.status_code)]
    content = declared["content"][response["Content-Type"]]["schema"]
    validator = OAS31Validator({**content, "components": schema["components"]}, format_checker=oas31_format_checker)
    validator.validate(response.json())

"""Public names of the site as plain data: API structure, error codes, database schema, models.

    python -m tests.helpers.snapshots

rewrites `tests/snapshots/`. A changed snapshot is a changed contract: say why in the commit.
"""

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOTS = ROOT / "tests" / "snapshots"
PROSE = {"description", "summary", "title"}  # keys of an OpenAPI object that may be reworded
NAMED = {"properties", "schemas", "responses", "headers"}  # OpenAPI objects whose keys are names, not keywords


def api_structure() -> Any:
    """Return the OpenAPI document without its prose."""
    from drf_spectacular.generators import SchemaGenerator

    document = json.loads(json.dumps(SchemaGenerator().get_schema(public=True), default=str))  # type: ignore[no-untyped-call]
    document["info"] = {}
    return without_prose(document)


def without_prose(node: Any, *, is_named: bool = False) -> Any:
    if isinstance(node, list):
        return [without_prose(value) for value in node]
    if not isinstance(node, dict):
        return node
    entries = node if is_named else {key: value for key, value in node.items() if key not in PROSE}
    return {key: without_prose(value, is_named=key in NAMED and not is_named) for key, value in entries.items()}


def raised_codes() -> list[str]:
    """Return the error codes that `catalog` and `worker` pass to their exceptions as literals."""
    return sorted({code for tree in _product_trees() for code in _codes_in(tree)})


def text_constants() -> set[str]:
    """Return every string literal of `catalog` and `worker`."""
    nodes = (node for tree in _product_trees() for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _product_trees() -> Iterator[ast.AST]:
    for package in ("catalog", "worker"):
        for file in (ROOT / package).rglob("*.py"):
            yield ast.parse(file.read_text())


def _codes_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
        values = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        values += {"Refused": node.args[:1], "Problem": node.args[1:2], "FieldProblem": node.args[1:2]}.get(name, [])
        yield from (value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))


def database_schema() -> dict[str, Any]:
    """Return tables with columns and constraints, and the names of triggers, as a migrated SQLite database has them."""
    with connection.cursor() as cursor:
        names = sorted(table.name for table in connection.introspection.get_table_list(cursor))
        tables = {name: _table(cursor, name) for name in names}
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
        return {"tables": tables, "triggers": [row[0] for row in cursor.fetchall()]}


def _table(cursor: Any, name: str) -> dict[str, Any]:
    described = connection.introspection.get_table_description(cursor, name)
    constraints = connection.introspection.get_constraints(cursor, name).values()
    kinds = ("primary_key", "unique", "index", "check", "foreign_key")
    return {
        "columns": {column.name: f"{column.type_code}{' null' if column.null_ok else ''}" for column in described},
        "constraints": sorted(
            f"{'+'.join(kind for kind in kinds if about[kind])} ({', '.join(map(str, about['columns'] or []))})"
            for about in constraints
        ),
    }


def model_names() -> list[str]:
    """Return `app.Model` of everything the site stores."""
    return sorted(model._meta.label for model in apps.get_models())


def read(name: str) -> Any:
    return json.loads((SNAPSHOTS / f"{name}.json").read_text())


def write(name: str, value: Any) -> None:
    SNAPSHOTS.mkdir(exist_ok=True)
    (SNAPSHOTS / f"{name}.json").write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def main() -> None:
    import django
    from django.core.management import call_command

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    write("openapi", api_structure())
    write("error_codes", raised_codes())
    write("database", database_schema())
    write("models", model_names())


if __name__ == "__main__":
    main()

"""What SQL of a user may name where files and a server are in its reach: tables, and harmless functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

_FUNCTIONS = frozenset({"audience_on", "generate_series", "range", "repeat", "repeat_row", "unnest"})
"""Table functions that read no file, ask no server and run no SQL that is given as text."""

_A_FILE = re.compile(r"[./\\:]")


def check_closed(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise PermissionException, as DuckDB does where access is disabled, if a user's SELECT names anything else."""
    [(text,)] = connection.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [sql]).fetchall()
    parsed = json.loads(text)
    if parsed["error"]:
        raise duckdb.PermissionException(
            f"Permission Error: what it names cannot be checked ({parsed['error_message']}). Write it otherwise"
        )
    for node in _nodes(parsed["statements"]):
        kind = node.get("type")
        if kind == "TABLE_FUNCTION":
            name = str(node["function"]["function_name"]).lower()
            if name not in _FUNCTIONS:
                raise duckdb.PermissionException(f"Permission Error: the function {name} may reach more than tables")
        elif kind == "BASE_TABLE":
            parts = [str(node[key]) for key in ("catalog_name", "schema_name", "table_name")]
            if any(part.lower().startswith("__ducklake") or _A_FILE.search(part) for part in parts):
                raise duckdb.PermissionException("Permission Error: it names what is no table of an import")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(child)

"""The fields of the mapped tables, for docs/tables.md."""

from __future__ import annotations

from icontact_assets.mapping.expressions import field_table


def fields() -> list[str]:
    """Both field tables as lines of Markdown."""
    lines: list[str] = []
    for table in ("icontact_users", "icontact_activity"):
        lines += ["", f"| `{table}` | type | |", "| --- | --- | --- |"]
        lines += [f"| `{field.name}` | {field.sql_type} | {field.description} |" for field in field_table(table)]
    return lines[1:]

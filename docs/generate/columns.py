"""Every column of every table and view that may be read, for docs/columns.md."""

from __future__ import annotations

from collections.abc import Iterable

from icontact_assets.mapping.expressions import field_table
from icontact_assets.mapping.people import people_table
from icontact_assets.reports.tables import ENGAGEMENT_CHANGES, REPORT_TABLES
from icontact_assets.warehouse.tables import COVERAGE, TABLES, VIEWS

BEGIN = """# Columns

Every table and view of an import with its columns. [tables.md](tables.md) says what they are for. Those of the reports
are in [reports.md](reports.md). This page is generated from the code by `python -m docs.generate`.

All times are UTC. A key says which columns identify a row.
"""
MAPPED = {
    "icontact_users": "A row is a contact.",
    "icontact_activity": "A row is a contact that did something.",
}
PROFILES = """`icontact_profiles` is a view with all columns of `icontact_users`, and then those of `icontact_activity`
without `ic_contact_id`."""


def cell(text: str) -> str:
    """Text as it can stand in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _table(columns: Iterable[tuple[str, str, str]]) -> list[str]:
    lines = ["", "| Column | Type | Meaning |", "| --- | --- | --- |"]
    return [*lines, *(f"| `{name}` | {kind} | {cell(meaning)} |" for name, kind, meaning in columns)]


def _key(columns: tuple[str, ...]) -> list[str]:
    return ["", f"Key: {', '.join(f'`{column}`' for column in columns)}."] if columns else []


REPORTS = {
    table.name: [
        cell(table.description),
        *_key(table.key),
        *_table((column.name, column.type, column.description) for column in table.columns),
    ]
    for table in (*REPORT_TABLES, ENGAGEMENT_CHANGES)
}
"""What stands between which markers of docs/reports.md."""


def page() -> str:
    """The whole page."""
    lines = [BEGIN, "## Mapped tables", "", PROFILES]
    for name, text in MAPPED.items():
        lines += ["", f"### `{name}`", "", text]
        lines += _table((field.name, field.sql_type, field.description) for field in field_table(name))
    people = people_table()
    lines += ["", f"### `{people.name}`", "", people.description, *_key(people.key)]
    lines += _table((column.name, column.type, column.description) for column in people.columns)
    lines += ["", "## Views", "", "Each has the columns of its table, and those that are named here.", ""]
    lines += ["| View | Of | |", "| --- | --- | --- |"]
    lines += [f"| `{view.name}` | `{view.of.name}` | {cell(view.description)} |" for view in VIEWS]
    for view in VIEWS:
        if view.added:
            lines += ["", f"### `{view.name}`", "", f"The columns of `{view.of.name}`, and:"]
            lines += _table((column.name, column.type, column.description) for column in view.added)
    lines += ["", "## Tables"]
    for table in (*(table for table in TABLES if table is not ENGAGEMENT_CHANGES), COVERAGE):
        lines += ["", f"### `{table.name}`", "", cell(table.description), *_key(table.key)]
        lines += _table((column.name, column.type, column.description) for column in table.columns)
    return "\n".join(lines) + "\n"

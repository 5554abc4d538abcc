"""Writes the field tables of the mapping into README.md, between its markers."""

from __future__ import annotations

from pathlib import Path

from icontact_assets.mapping.expressions import field_table

BEGIN, END = "<!-- fields: begin -->", "<!-- fields: end -->"


def fields() -> str:
    """The fields of both mapped tables as Markdown."""
    lines = []
    for table in ("icontact_users", "icontact_activity"):
        lines += [f"| `{table}` | type | |", "| --- | --- | --- |"]
        lines += [f"| `{field.name}` | {field.sql_type} | {field.description} |" for field in field_table(table)]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    readme = Path("README.md")
    head, _, rest = readme.read_text().partition(BEGIN)
    readme.write_text(f"{head}{BEGIN}\n{fields()}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()

"""Writes every part of the docs that follows from the code: `python -m docs.generate`."""

from __future__ import annotations

from pathlib import Path

from docs.generate import asset_graph, columns, errors, options, sandbox_tables
from docs.generate.markers import filled

DOCS = Path(__file__).parents[1]


def generated() -> dict[Path, str]:
    """Each file that is generated, wholly or in part, as it must be."""
    sandbox = (DOCS / "sandbox.md").read_text()
    for name, table in sandbox_tables.TABLES.items():
        sandbox = filled(sandbox, name, table())
    settings = (DOCS / "settings.md").read_text()
    for name, table in options.TABLES.items():
        settings = filled(settings, name, table())
    reports = (DOCS / "reports.md").read_text()
    for name, lines in columns.REPORTS.items():
        reports = filled(reports, name, lines)
    return {
        DOCS / "asset-graph.svg": asset_graph.svg(),
        DOCS / "columns.md": columns.page(),
        DOCS / "reports.md": reports,
        DOCS / "sandbox.md": sandbox,
        DOCS / "settings.md": settings,
        DOCS / "troubleshooting.md": filled((DOCS / "troubleshooting.md").read_text(), "errors", errors.errors()),
    }


def main() -> None:
    for path, text in generated().items():
        path.write_text(text)


if __name__ == "__main__":
    main()

"""What brings a database of an earlier version to the tables as they are declared now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Upgrade:
    """SQL to run, in the schema of an import, where a table still has the column of an earlier version."""

    table: str
    column: str
    statements: tuple[str, ...]


UPGRADES: tuple[Upgrade, ...] = (
    Upgrade(
        "import_coverage",
        "verdict",
        (
            # The view is made again by the next run of a raw asset.
            "DROP VIEW IF EXISTS coverage",
            "ALTER TABLE import_coverage RENAME verdict TO status",
            "ALTER TABLE import_coverage RENAME announced TO reported",
            "ALTER TABLE import_coverage RENAME figure TO statistic",
            "ALTER TABLE import_coverage RENAME reading TO read_id",
            "ALTER TABLE import_coverage RENAME moved_at TO changed_at",
            "ALTER TABLE import_coverage ADD COLUMN list_id VARCHAR",
            "UPDATE import_coverage SET list_id = CASE resource WHEN 'subscriptions' THEN kind ELSE '' END",
            "UPDATE import_coverage SET kind = '' WHERE resource = 'subscriptions'",
            "UPDATE import_coverage SET status = 'stale' WHERE status = 'late'",
        ),
    ),
    Upgrade(
        "export_runs",
        "verdict",
        (
            "ALTER TABLE export_runs RENAME verdict TO status",
            "ALTER TABLE export_runs RENAME already TO already_subscribed",
            "UPDATE export_members SET changed_by = 'external' WHERE changed_by = 'others'",
        ),
    ),
    Upgrade(
        "export_outcomes",
        "words",
        (
            "ALTER TABLE export_outcomes RENAME words TO response",
            # The first files had none. DuckDB 1.5 does not commit a column that is added after an update.
            "ALTER TABLE export_outcomes ADD COLUMN IF NOT EXISTS evidence VARCHAR",
            "UPDATE export_outcomes SET outcome = 'already_subscribed' WHERE outcome = 'already'",
            "UPDATE export_outcomes SET reason = replace(reason, 'the exclusion list', 'the suppression list'), "
            "evidence = replace(evidence, '\"exclusion\":', '\"suppressed\":')",
        ),
    ),
    # `links` is now a report, which has no such column.
    Upgrade("links", "event_url", ("INSERT INTO hashed_links BY NAME FROM links", "DROP TABLE links")),
)


def pending(columns: Mapping[str, set[str]]) -> Iterator[str]:
    """The statements that a schema with these columns (table name to column names) still needs, in order."""
    for upgrade in UPGRADES:
        if upgrade.column in columns.get(upgrade.table, ()):
            yield from upgrade.statements

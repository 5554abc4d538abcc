"""Speaks to DuckDB: table declarations, transactions, the lock. Knows no Dagster and no iContact."""

"""Speaks to iContact: requests, budget, whole listings. Knows no Dagster and no DuckDB."""

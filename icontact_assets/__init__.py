"""iContact contacts and e-mail activity as Dagster assets in DuckDB. `icontact_assets.definitions` is the entry."""

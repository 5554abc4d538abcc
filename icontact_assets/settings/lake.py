"""Where a DuckLake is: the variables that name its catalog and its data, checked. No error shows their values."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from icontact_assets.settings.models import Lake, SettingsError

WAREHOUSE = "ICONTACT_ASSETS_WAREHOUSE"
DATA = "ICONTACT_ASSETS_DATA"

S3 = "s3://"

_CATALOG = "ducklake:postgres:"
_EXAMPLE = "ducklake:postgres:host=db.example.org dbname=icontact user=icontact"

_PACKAGES = (
    "psycopg",
    "duckdb_extension_ducklake",
    "duckdb_extension_postgres_scanner",
    "duckdb_extension_httpfs",
    "duckdb_extension_aws",
)


def catalog_of(environ: Mapping[str, str]) -> SecretStr | None:
    """How libpq connects to the catalog. None if the variable is not set. Raises SettingsError."""
    address = environ.get(WAREHOUSE)
    if not address:
        return None
    if not address.startswith(_CATALOG):
        raise SettingsError(
            f"{WAREHOUSE} does not begin with {_CATALOG}. A catalog must be in PostgreSQL. One in SQLite loses what "
            f"two runs commit at once. Write {_EXAMPLE}, or unset the variable: then the tables are in a file. Its "
            "value is not shown."
        )
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise SettingsError(
            f"{WAREHOUSE} names a DuckLake, and packages are missing for it: {', '.join(missing)}. Install them with "
            "pip install 'icontact_assets[lake]', or unset the variable: then the tables are in a file."
        )
    conninfo = address.removeprefix(_CATALOG)
    if not _names_a_database(conninfo):
        raise SettingsError(
            f"{WAREHOUSE} names no PostgreSQL database after {_CATALOG}. Write {_EXAMPLE}, or a URL as "
            "postgresql://icontact@db.example.org/icontact. Its value is not shown."
        )
    return SecretStr(conninfo)


def lake_of(catalog: SecretStr | None, data: str | Path | None) -> Lake | None:
    """The lake of both variables. None if neither is set. Raises SettingsError if only one is."""
    if catalog is not None and data is not None:
        return Lake(catalog=catalog, data=str(data))
    if catalog is None and data is None:
        return None
    set_, unset = (WAREHOUSE, DATA) if data is None else (DATA, WAREHOUSE)
    raise SettingsError(
        f"{set_} is set, and {unset} is not. A DuckLake needs both. Set {unset} too, or unset {set_}: then the tables "
        "are in a file."
    )


def _names_a_database(conninfo: str) -> bool:
    # Of the extra `lake`.
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return conninfo.isprintable() and bool(conninfo_to_dict(conninfo).get("dbname"))
    except (psycopg.Error, UnicodeError):
        # Not chained: libpq quotes what it does not understand, which may be the password.
        return False

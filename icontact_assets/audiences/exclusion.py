"""The people an export never adds: read from a CSV file or a DuckDB table, matched by contact id, address or domain."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from icontact_assets.audiences.consent import Exclusion
from icontact_assets.settings import Never

_COLUMNS = ("contact_id", "email", "domain")


class ExclusionError(Exception):
    """The exclusion list cannot be read whole, so nobody may be added. One paragraph; no value of anybody's."""


@dataclass(frozen=True)
class ExclusionList:
    """Contact ids, addresses and domains. A domain also stands for those below it."""

    contact_ids: frozenset[str] = frozenset()
    emails: frozenset[str] = field(default=frozenset(), repr=False)
    domains: frozenset[str] = frozenset()

    def match(self, contact_id: str, email: str | None) -> Exclusion | None:
        """How a contact with this address stands on the list; None if that needs an address and there is none."""
        if contact_id in self.contact_ids:
            return Exclusion.CONTACT_ID
        if not self.emails and not self.domains:
            return Exclusion.NOT_LISTED
        address = _plain(email or "")
        domain = _domain(address)
        if not domain:
            return None
        if address in self.emails:
            return Exclusion.EMAIL
        parts = domain.split(".")
        if any(".".join(parts[n:]) in self.domains for n in range(len(parts))):
            return Exclusion.DOMAIN
        return Exclusion.NOT_LISTED


def read_exclusion_list(never: Never | None, connection: duckdb.DuckDBPyConnection, schema: str) -> ExclusionList:
    """The exclusion list of an export; a table without a schema is one of `schema`. Raises ExclusionError."""
    if never is None:
        return ExclusionList()
    if never.file is not None:
        return _collect(str(never.file), _from_file(never.file))
    table = never.table or ""
    quoted = ".".join(f'"{part}"' for part in (table if "." in table else f"{schema}.{table}").split("."))
    try:
        columns = [row[0] for row in connection.execute(f"DESCRIBE {quoted}").fetchall()]
        _check_columns(table, columns)
        values = ", ".join(f"CAST({name} AS VARCHAR)" if name in columns else "NULL" for name in _COLUMNS)
        rows = connection.execute(f"SELECT {values} FROM {quoted}").fetchall()
    except duckdb.CatalogException as error:
        raise ExclusionError(
            f"There is no table {table} in the database, which `never` names. Create it, or correct the name."
        ) from error
    return _collect(table, enumerate(rows, start=1))


def _from_file(path: Path) -> Iterator[tuple[int, tuple[str | None, ...]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(str(path), list(reader.fieldnames or []))
            for row in reader:
                if None in row or None in row.values():
                    raise ExclusionError(
                        f"{path}:{reader.line_num}: the line has more or fewer values than the header. Correct it."
                    )
                yield reader.line_num, tuple(row.get(name) for name in _COLUMNS)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ExclusionError(
            f"The exclusion list {path} cannot be read ({type(error).__name__}). It is a CSV file in UTF-8 with a "
            "header; check that it exists and that this user may read it."
        ) from error


def _check_columns(source: str, columns: list[str]) -> None:
    if not columns or not set(columns) <= set(_COLUMNS) or len(set(columns)) < len(columns):
        raise ExclusionError(
            f"The exclusion list {source} has the columns {', '.join(columns) or 'none'}: it must have one or more of "
            f"{', '.join(_COLUMNS)}, and no other."
        )


def _collect(source: str, rows: Iterable[tuple[int, tuple[str | None, ...]]]) -> ExclusionList:
    ids, emails, domains = set[str](), set[str](), set[str]()
    for line, row in rows:
        contact_id, email, domain = ((value or "").strip() for value in row)
        domain = _plain(domain).removeprefix("*.").removeprefix("@")
        for name, value, good in (
            ("contact_id", contact_id, contact_id.isascii() and contact_id.isdigit()),
            ("email", email, bool(_domain(_plain(email)))),
            ("domain", domain, "@" not in domain and " " not in domain),
        ):
            if value and not good:
                raise ExclusionError(f"{source}:{line}: {name} is none (the value is not shown). Correct it.")
        ids |= {contact_id} - {""}
        emails |= {_plain(email)} - {""}
        domains |= {domain} - {""}
    return ExclusionList(frozenset(ids), frozenset(emails), frozenset(domains))


def _plain(text: str) -> str:
    return text.strip().casefold().rstrip(".")


def _domain(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return domain if local else ""

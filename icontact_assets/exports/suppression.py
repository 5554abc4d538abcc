"""The suppression list, people an export never adds: read from a file or a table, matched by id, address or domain."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from icontact_assets.audiences.audience import problem
from icontact_assets.errors import UserError
from icontact_assets.exports.consent import Suppressed
from icontact_assets.exports.person import normal_address, normal_domain
from icontact_assets.icontact.values import as_id
from icontact_assets.settings.models import Suppression

_COLUMNS = ("contact_id", "email", "domain")
_EXPECTED = f"one or more of the columns {', '.join(_COLUMNS)}, each once, and no other"
_ONE_OF = {
    "contact_id": "not a contact id. Write its digits",
    "email": "not exactly one address. Write each address on its own line, and a domain in the column domain",
    "domain": (
        "not exactly one domain with a full stop in it. Write each domain on its own line, an address in the column "
        "email, and a top-level domain with a full stop before it"
    ),
}


class SuppressionError(UserError):
    """The suppression list cannot be read whole, so nobody may be added. One paragraph; no value of anybody's."""


@dataclass(frozen=True)
class SuppressionList:
    """Contact ids, addresses and domains in their normal forms."""

    contact_ids: frozenset[str] = frozenset()
    emails: frozenset[str] = field(default=frozenset(), repr=False)
    domains: frozenset[str] = frozenset()
    """A domain also stands for those below it."""

    def match(self, contact_id: str, email: str | None) -> Suppressed | None:
        """Whether, and by what, a contact with this address is on the list. None: it has no address to compare."""
        if as_id(contact_id) in self.contact_ids:
            return Suppressed.CONTACT_ID
        if not self.emails and not self.domains:
            return Suppressed.NOT_LISTED
        address = normal_address(email or "")
        if address is None:
            return None
        if address in self.emails:
            return Suppressed.EMAIL
        parts = address.rpartition("@")[2].split(".")
        if any(".".join(parts[n:]) in self.domains for n in range(len(parts))):
            return Suppressed.DOMAIN
        return Suppressed.NOT_LISTED


def read_suppression_list(source: Suppression | None, connection: duckdb.DuckDBPyConnection) -> SuppressionList:
    """The suppression list of an export. A table without a schema is one of the import. Raises SuppressionError."""
    if source is None:
        return SuppressionList()
    if source.file is not None:
        return _collect(str(source.file), _from_file(source.file))
    table = source.table or ""
    [(schema,)] = connection.execute("SELECT current_schema()").fetchall()
    # Never a bare name: DuckDB would take an unknown one for a file or for a variable of Python.
    parts = (table if "." in table else f"{schema}.{table}").split(".")
    # The settings allow no quotation mark in the name of a table.
    quoted = ".".join(f'"{part}"' for part in parts)
    try:
        described = [(str(row[0]), str(row[1])) for row in connection.execute(f"DESCRIBE {quoted}").fetchall()]
        places = _places(table, [name for name, _ in described])
        inexact = [name for name, place in places.items() if described[place][1] == "FLOAT"]
        if inexact:
            raise SuppressionError(
                f"The column {inexact[0]} of the suppression list {table} is of the type FLOAT, which does not hold "
                "every id exactly. Make it a VARCHAR or BIGINT."
            )
        values = ", ".join(f"CAST(#{places[name] + 1} AS VARCHAR)" if name in places else "NULL" for name in _COLUMNS)
        rows = connection.execute(f"SELECT {values} FROM (FROM {quoted})").fetchall()  # noqa: S608
    except duckdb.CatalogException as error:
        raise SuppressionError(
            f"There is no table {table} in the database, which `suppression` names. Create it, or correct the name."
        ) from error
    except duckdb.Error as error:
        raise SuppressionError(f"The suppression list {table} cannot be read: {problem(error)}. Correct it.") from None
    return _collect(table, enumerate(rows, start=1))


def _from_file(path: Path) -> Iterator[tuple[int, Sequence[str | None]]]:
    """The first line of each row with its values, in the order of _COLUMNS."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise SuppressionError(
            f"The suppression list {path} cannot be read ({type(error).__name__}). Check that it exists and that this "
            "user may read it."
        ) from None
    _check_text(path, content)
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig"), strict=True)
    places: dict[str, int] = {}
    width, line = 0, 0
    try:
        for row in reader:
            line, began = reader.line_num, line + 1
            if not any(map(str.strip, row)):
                continue
            if not places:
                places, width = _places(f"{path}:{began}", row), len(row)
                continue
            if len(row) != width:
                raise SuppressionError(
                    f"{path}:{began}: the line has {len(row)} values, the header {width}. Correct it."
                )
            yield began, [row[places[name]] if name in places else None for name in _COLUMNS]
    except csv.Error as error:
        raise SuppressionError(
            f"{path}:{line + 1}: what begins here is not CSV ({error}). Correct the quotation marks of the line."
        ) from None
    if not places:
        raise SuppressionError(f"The suppression list {path} is empty. It must begin with a header of {_EXPECTED}.")


def _check_text(path: Path, content: bytes) -> None:
    """Raises SuppressionError unless the file is text in UTF-8."""
    at = content.find(b"\0")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        at = error.start if at < 0 else min(at, error.start)
    if at >= 0:
        lines = len(content[:at].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
        raise SuppressionError(
            f"{path}:{lines}: the line is not text in UTF-8. Save the suppression list as CSV in UTF-8."
        )


def _places(source: str, header: Sequence[str]) -> dict[str, int]:
    """Where the known columns are.

    Raises SuppressionError. It shows no unknown name: in a file that lacks its header, a name is somebody's address.
    """
    names = [" ".join(name.replace("\ufeff", "").split()).strip("'\"").casefold() for name in header]
    known = {name: place for place, name in enumerate(names) if name in _COLUMNS}
    if not names or len(known) < len(names):
        fitting = ", ".join(name for name in _COLUMNS if name in known) or "none"
        raise SuppressionError(
            f"The header of the suppression list {source} does not fit: of its {len(names)} columns, these are "
            f"known: {fitting} (no other name is shown). It must have {_EXPECTED}. In a file, commas separate them."
        )
    return known


def _collect(source: str, rows: Iterable[tuple[int, Sequence[str | None]]]) -> SuppressionList:
    forms = {"contact_id": as_id, "email": normal_address, "domain": _listed_domain}
    found: dict[str, set[str]] = {name: set() for name in _COLUMNS}
    for line, row in rows:
        for name, value in zip(_COLUMNS, row, strict=True):
            if value is None or not value.strip():
                continue
            form = forms[name](value)
            if form is None:
                raise SuppressionError(f"{source}:{line}: {name} is {_ONE_OF[name]} (the value is not shown).")
            found[name].add(form)
    return SuppressionList(*(frozenset(found[name]) for name in _COLUMNS))


def _listed_domain(text: str) -> str | None:
    """The normal form of a domain that a list may name. A domain of one label is a slip (`shop` for `shop.example`)
    unless it is marked as one that stands for those below it."""
    domain = normal_domain(text)
    if domain is None or "." in domain or ":" in domain:
        return domain
    return domain if text.strip(" \t'\"@*").startswith(".") else None

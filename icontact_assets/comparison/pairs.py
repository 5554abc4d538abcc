"""Which profile of the file is which of ours: by contact id, else by an address that nobody else has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from icontact_assets.comparison.values import fields
from icontact_assets.icontact.values import as_id
from icontact_assets.mapping.build import compute_distinct
from icontact_assets.mapping.expressions import needs_function, user_value
from icontact_assets.warehouse.rows import texts

_ID = "[+]?0*(0|[1-9][0-9]{0,19})([.]0+)?"
"""Regular expression of the ids whose normal form SQL gives: nearly all there are."""


@dataclass(frozen=True)
class Pairs:
    """How many profiles there are on each side, and how they were told."""

    there: int
    here: int
    by_id: int
    by_address: int
    same_id_there: int
    """Profiles of the file whose contact id another one of it has too."""
    same_address_there: int
    """Profiles of the file that only an address could tell, which others have too, there or here."""
    same_id_here: int
    same_address_here: int
    """Our profiles that those might be."""


def find_pairs(connection: duckdb.DuckDBPyConnection, in_file: Sequence[str]) -> Pairs:
    """Make the temporary tables `pairs` (n of a row of `there`, id of ours), `only_there` (n, id) and `only_here` (id).

    Contact ids are compared in their normal form, addresses in that of the mapping. Nobody is guessed: a contact id
    that the file has twice, and an address that several profiles have on a side, make no pair. These profiles are in
    none of the three. `in_file` names the fields that the file has.
    """
    _make_keys(connection, in_file)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE mine AS SELECT ic_contact_id AS id, email AS address FROM icontact_profiles"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE double_ids AS "
        "SELECT id FROM temp.keys WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE pairs AS SELECT n, id "
        "FROM temp.keys SEMI JOIN temp.mine USING (id) ANTI JOIN temp.double_ids USING (id)"
    )
    by_id = _count(connection, "pairs")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE only_there AS FROM temp.keys ANTI JOIN temp.pairs USING (n) "
        "ANTI JOIN temp.double_ids USING (id)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE only_here AS FROM temp.mine ANTI JOIN temp.pairs USING (id) "
        "ANTI JOIN temp.double_ids USING (id)"
    )
    # Those told by their ids count too: their address is not another profile's alone.
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE addresses AS SELECT address, there, here FROM "
        "(SELECT address, count(*) AS there FROM temp.keys SEMI JOIN temp.only_there USING (address) GROUP BY address) "
        "JOIN (SELECT address, count(*) AS here FROM temp.mine SEMI JOIN temp.only_there USING (address) "
        "GROUP BY address) USING (address)"
    )
    connection.execute(
        "INSERT INTO temp.pairs SELECT t.n, h.id FROM temp.only_there t JOIN temp.addresses USING (address) "
        "JOIN temp.only_here h USING (address) WHERE there = 1 AND here = 1"
    )
    same_there, same_here = (
        _count(connection, f"{side} SEMI JOIN temp.addresses USING (address) ANTI JOIN temp.pairs USING ({key})")
        for side, key in (("only_there", "n"), ("only_here", "id"))
    )
    for side in ("only_there", "only_here"):
        connection.execute(f"DELETE FROM temp.{side} WHERE address IN (SELECT address FROM temp.addresses)")
    same_id_there, same_id_here = (
        _count(connection, f"{side} SEMI JOIN temp.double_ids USING (id)") for side in ("keys", "mine")
    )
    return Pairs(
        there=_count(connection, "keys"),
        here=_count(connection, "mine"),
        by_id=by_id,
        by_address=_count(connection, "pairs") - by_id,
        same_id_there=same_id_there,
        same_address_there=same_there,
        same_id_here=same_id_here,
        same_address_here=same_here,
    )


def _make_keys(connection: duckdb.DuckDBPyConnection, in_file: Sequence[str]) -> None:
    """Make the temporary table `keys` (n, id, address) of the profiles of the file. NULL: the profile has none."""
    id_, address = ("ic_contact_id" in in_file, "email" in in_file)
    odd = f"SELECT DISTINCT ic_contact_id FROM temp.there WHERE NOT regexp_full_match(ic_contact_id, '{_ID}')"
    written = [text for (text,) in connection.execute(odd).fetchall()] if id_ else []
    connection.register("odd_ids", texts({"text": written, "normal": map(as_id, written)}))
    if address:
        query = f"SELECT DISTINCT email AS text FROM temp.there WHERE {needs_function('email', 'email')}"
        compute_distinct(connection, "email_email", "email", query)
    ids = f"coalesce(normal, nullif(regexp_extract(ic_contact_id, '^{_ID}$', 1), ''))" if id_ else "NULL::VARCHAR"
    addresses = user_value(fields()["email"]) if address else "NULL::VARCHAR"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE keys AS SELECT n, {ids} AS id, {addresses} AS address FROM temp.there"
        + (" LEFT JOIN odd_ids ON odd_ids.text = ic_contact_id" if id_ else "")
        + (" LEFT JOIN temp.email_email ON email_email.text = there.email" if address else "")
    )
    connection.unregister("odd_ids")


def _count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    [(count,)] = connection.execute(f"SELECT count(*) FROM temp.{rows}").fetchall()
    return int(count)

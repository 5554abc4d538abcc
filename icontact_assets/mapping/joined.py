"""Which contacts are one person: those that addresses lead to from each other, over one import or several."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from icontact_assets.mapping.build import look_up
from icontact_assets.mapping.expressions import field_table, user_value

_BATCH_CONTACTS = 200_000
"""Contacts of a batch, roughly: a person is in one."""


def tabulate_joined(connection: duckdb.DuckDBPyConnection, imports: Sequence[str]) -> int:
    """Make temporary tables of the contacts in the profiles of these imports, and return how many batches there are:

    - `address` (import, id, email): every address that a contact has or ever had, mapped, once each.
    - `several` (import, id, emails): all addresses of a contact whose addresses are not just that of its profile.
    - `joined` (import, id, person, batch): the contacts that are not alone, the number of the person whose they are,
      and that of the batch, from 0 on, in which all contacts of the person are.
    """
    _tabulate_addresses(connection, imports)
    _tabulate_pairs(connection)
    _contract(connection)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE joined AS SELECT import, id, person, batch "
        "FROM temp.numbered JOIN temp.found USING (n) JOIN (SELECT person, "
        f"((sum(size) OVER (ORDER BY person) - size) // {_BATCH_CONTACTS})::BIGINT AS batch "
        "FROM (SELECT person, count(*) AS size FROM temp.found GROUP BY person)) USING (person)"
    )
    [(batches,)] = connection.execute("SELECT coalesce(max(batch) + 1, 0) FROM temp.joined").fetchall()
    return int(batches)


def _tabulate_addresses(connection: duckdb.DuckDBPyConnection, imports: Sequence[str]) -> None:
    [email] = [field for field in field_table("icontact_users") if field.name == "email"]
    for table in ("address", "former"):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} (import VARCHAR, id VARCHAR, email VARCHAR)")
    for name in imports:
        profiles = f'(SELECT ic_contact_id AS id, email AS latest FROM "{name}".icontact_profiles)'
        # Nearly every contact has one version, whose address is that of the profile. A version that another one of the
        # same day replaced has left its address in contact_addresses.
        connection.execute(
            f'CREATE OR REPLACE TEMP VIEW versions AS SELECT id, email FROM "{name}".raw_contacts WHERE id IN '
            f'(SELECT id FROM "{name}".raw_contacts GROUP BY id HAVING count(*) > 1) '
            f"UNION SELECT contact_id, email FROM \"{name}\".contact_addresses WHERE folder = '' "
            f'AND contact_id IN (SELECT id FROM "{name}".raw_contacts)'
        )
        mapped = f"SELECT v.id, {user_value(email)} AS mapped FROM temp.versions v {look_up(connection, [email])}"
        connection.execute(
            f"INSERT INTO temp.former SELECT DISTINCT '{name}', id, mapped FROM ({mapped}) JOIN {profiles} USING (id) "
            "WHERE mapped IS NOT NULL AND mapped IS DISTINCT FROM latest"
        )
        connection.execute(
            f"INSERT INTO temp.address SELECT '{name}', id, latest FROM {profiles} WHERE latest IS NOT NULL"
        )
    connection.execute("INSERT INTO temp.address FROM temp.former")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE several AS SELECT import, id, list_sort(list(email)) AS emails "
        "FROM temp.address SEMI JOIN temp.former USING (import, id) GROUP BY import, id"
    )


def _tabulate_pairs(connection: duckdb.DuckDBPyConnection) -> None:
    """Number the contacts that share an address in `numbered` (import, id, n), and make `pair` (a, b), which leads from
    every one of them to one other of each of its addresses, and back."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE shared AS FROM temp.address "
        "SEMI JOIN (SELECT email FROM temp.address GROUP BY email HAVING count(*) > 1) USING (email)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE numbered AS SELECT import, id, row_number() OVER () AS n "
        "FROM (SELECT DISTINCT import, id FROM temp.shared)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE pair AS SELECT DISTINCT n AS a, b FROM (SELECT n, min(n) OVER "
        "(PARTITION BY email) AS b FROM temp.shared JOIN temp.numbered USING (import, id)) WHERE n <> b"
    )
    connection.execute("INSERT INTO temp.pair SELECT b, a FROM temp.pair")


def _contract(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the temporary table `found` (n, person) of the pairs, by randomised contraction. A person has the number of
    one of its contacts.

    In each round every contact chooses the neighbour with the smallest hash, or itself, and the pairs become those of
    the chosen. Whatever the shape, a part of the contacts that does not depend on their number is then chosen by nobody
    and is gone, so that even a chain of a million takes about 20 rounds, each smaller than the one before.
    """
    rounds = 0
    while connection.execute("SELECT 1 FROM temp.pair LIMIT 1").fetchall():
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE chosen_{rounds} AS SELECT a AS n, if(min(hash(b, {rounds})) < "
            f"hash(a, {rounds}), arg_min(b, hash(b, {rounds})), a) AS chosen FROM temp.pair GROUP BY a"
        )
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE pair AS SELECT DISTINCT one.chosen AS a, other.chosen AS b FROM temp.pair "
            f"JOIN temp.chosen_{rounds} one ON one.n = a JOIN temp.chosen_{rounds} other ON other.n = b "
            "WHERE one.chosen <> other.chosen"
        )
        rounds += 1
    # From the last round back: who was chosen in one of them may have chosen somebody in the next.
    connection.execute("CREATE OR REPLACE TEMP TABLE found (n BIGINT, person BIGINT)")
    for number in reversed(range(rounds)):
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE found AS SELECT c.n, coalesce(f.person, c.chosen) AS person "
            f"FROM temp.chosen_{number} c LEFT JOIN temp.found f ON f.n = c.chosen"
        )
        connection.execute(f"DROP TABLE temp.chosen_{number}")

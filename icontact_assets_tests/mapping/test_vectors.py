"""The vendor's vectors through tables: stored as raw rows, mapped, and compared, all at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets_tests.harness import Place, on_both
from icontact_assets_tests.mapping.test_build import NOW
from icontact_assets_tests.mapping.test_functions import VECTORS

# A column of icontact_users to the function that makes it, and the raw column that the function reads.
_OF_USERS = {
    "email": ("email", "email"),
    "email_domain": ("emaildomain", "email"),
    "epoch_ms(ic_user_created)": ("todate_ms", "create_date"),
}


def _texts(function: str) -> list[tuple[str, Any]]:
    """Vectors whose input a table can hold."""
    return [(text, expected) for text, expected in VECTORS[function] if isinstance(text, str) and "\0" not in text]


@on_both
def test_every_vector_holds_in_the_tables(place: Place, tmp_path: Path) -> None:
    warehouse = place.warehouse(tmp_path)
    links = dict(_texts("hashedurls_key"))
    expected = {
        (column, f"{function}{number}"): result
        for column, (function, _) in _OF_USERS.items()
        for number, (_, result) in enumerate(_texts(function))
    }
    read = {"observed_at": NOW, "partition_date": NOW.date()}
    contacts = [
        {"id": f"{function}{number}", "email": None, "create_date": None, source: text, **read}
        for function, source in _OF_USERS.values()
        for number, (text, _) in enumerate(_texts(function))
    ]
    events = [
        {"message_id": "501", "contact_id": "1", "event_type": "click", "event_time": NOW + timedelta(minutes=number)}
        | {"event_url": link, "ordinal": 0, "extracted_at": NOW, "partition_date": NOW.date()}
        for number, link in enumerate(links)
    ]
    with warehouse.write("test") as connection:
        for table, rows in (("raw_contacts", contacts), ("raw_activity", events)):
            connection.register("stored", pa.Table.from_pylist(rows))
            connection.execute(f"INSERT INTO {table} BY NAME FROM stored")
        build_users(connection)
        build_activity(connection)
        found = {
            (column, id_): value
            for column, (function, _) in _OF_USERS.items()
            for id_, value in connection.execute(
                f"SELECT ic_contact_id, {column} FROM icontact_users WHERE starts_with(ic_contact_id, ?)", [function]
            ).fetchall()
        }
        hashed = dict(connection.execute("SELECT event_url, hashedurls_key FROM hashed_links").fetchall())
    warehouse.let_go()
    assert len(expected) > 150
    assert len(links) > 50
    assert {key: (found.get(key), value) for key, value in expected.items() if found.get(key) != value} == {}
    assert {link: (hashed.get(link), value) for link, value in links.items() if hashed.get(link) != value} == {}

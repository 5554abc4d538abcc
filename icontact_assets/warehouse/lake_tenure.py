"""What somebody has who has a lock of a lake: whether it is still there, and what was left under it."""

from __future__ import annotations

import uuid

import psycopg

from icontact_assets.catalog import Session, create_once
from icontact_assets.warehouse.remedies import first_line
from icontact_assets.warehouse.storage import Tenure, WarehouseError


class LakeTenure(Tenure):
    """The lock of a name, for as long as the session lives. Threads may share it."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    def confirm(self) -> None:
        """Ask the session whether it lives."""
        try:
            self._session.execute("SELECT 1")
        except psycopg.Error as error:
            raise WarehouseError(
                f"The lock of {self._name} in the catalog was lost: {first_line(error)} Nothing more is written, "
                "because another run may have it by now. Check that PostgreSQL runs, and run again."
            ) from error

    def marks(self) -> tuple[str, str]:
        """Marks are kept in a table beside the catalog."""
        new = uuid.uuid4().hex
        create_once(
            self._session, "icontact_marks", "CREATE TABLE icontact_marks (name text PRIMARY KEY, mark text NOT NULL)"
        )
        with self._session.transaction():
            found = self._session.execute("SELECT mark FROM icontact_marks WHERE name = %s", [self._name]).fetchall()
            self._session.execute(
                "INSERT INTO icontact_marks VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET mark = excluded.mark",
                [self._name, new],
            )
        return (found[0][0] if found else ""), new

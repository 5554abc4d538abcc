"""Where an export happens: the database, the client folder of its list, and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from icontact_assets.exports.history import Shelf
from icontact_assets.exports.live import Clock
from icontact_assets.exports.watch import Watch
from icontact_assets.icontact.folder import Folder
from icontact_assets.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class ExportContext:
    """What every step of an export works with."""

    warehouse: Warehouse
    """Bound to the schema of the import that holds the audience. The export's own records are there too."""
    folder: Folder
    """The client folder of the list."""
    folder_schema: str | None
    """The schema of the import that reads this client folder. None: no import does."""
    clock: Clock
    """Gives aware times."""
    watch: Watch = field(default_factory=Watch)
    """Observes everything that is read of the client folder."""
    schema: str = field(init=False)
    """The schema that the warehouse is bound to."""

    def __post_init__(self) -> None:
        if self.warehouse.schema is None:
            raise ValueError("an export needs a warehouse that is bound to the schema of an import")
        object.__setattr__(self, "schema", self.warehouse.schema)
        object.__setattr__(self, "folder", self.folder.watched(self.watch))

    @property
    def shelf(self) -> Shelf:
        """Where opt-outs and addresses of the list's client folder are kept."""
        if self.folder_schema is not None:
            return Shelf(self.folder_schema, "", imported=True)
        return Shelf(self.schema, self.folder.key, imported=False)

    @property
    def records(self) -> frozenset[str]:
        """The schemas with records of exports to the list's client folder."""
        return frozenset({self.schema, self.folder_schema or self.schema})

    def remember(self) -> None:
        """Store what the watch saw, in a transaction of its own."""
        if self.watch.unsaved:
            with self.warehouse.write("recording opt-outs") as connection:
                self.watch.store(connection, self.shelf, self.clock())

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Store what any answer in the block showed, however the block ends."""
        try:
            yield
        finally:
            self.remember()

"""An import of several accounts becomes an import for each of them, and so do its audiences and exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from icontact_assets.settings.document import Place
from icontact_assets.settings.models import Audience
from icontact_assets.settings.refusals import SettingsFile, shown
from icontact_assets.settings.values import NAME, Names
from icontact_assets.settings.written import AccountItem, ExportItem, ImportItem, Written

# These say what an item of `imports` is, not what its accounts have in common.
_OWN = frozenset({"name", "label", "accounts"})

_Item = TypeVar("_Item", AccountItem, Audience, ExportItem)


@dataclass(frozen=True)
class Placed(Generic[_Item]):
    """An item, and where it is written."""

    item: _Item
    at: Place
    shared: frozenset[str] = frozenset()
    """The keys that are written for all accounts, two levels above."""

    def place(self, key: str) -> Place:
        """Where a key of it is written."""
        return (*(self.at[:-2] if key in self.shared else self.at), key)


@dataclass(frozen=True)
class Items:
    """The items of a file, of which none stands for several any more."""

    imports: list[Placed[AccountItem]]
    audiences: list[Placed[Audience]]
    exports: list[Placed[ExportItem]]
    priorities: list[tuple[Place, Names]]


def each_account(written: Written, file: SettingsFile) -> Items:
    """The items of a file. One of `imports` that has `accounts` is an import for each of them. An audience of it, and
    an export of such an audience, is one for each account too, named `<account>_<name>`.

    Raises SettingsError if two of them read one client folder, or have one name, or if an item cannot be one for each.
    """
    return _Spread(written, file).items()


class _Spread:
    def __init__(self, written: Written, file: SettingsFile) -> None:
        self._written = written
        self._file = file
        self._accounts = {item.name: item.accounts for item in written.imports if item.accounts}
        # Of those that stand for several: the name of the import.
        self._audiences = {a.name: a.import_name for a in written.audiences if a.import_name in self._accounts}
        self._exports = {
            export.name: self._audiences[export.audience]
            for export in written.exports
            if export.audience in self._audiences
        }
        self._taken = {
            "audiences": {item.name for item in written.audiences},
            "exports": {item.name for item in written.exports},
        }

    def items(self) -> Items:
        imports = [placed for n, item in enumerate(self._written.imports) for placed in self._imports(n, item)]
        audiences = [
            placed for n, item in enumerate(self._written.audiences) for placed in self._each_audience(n, item)
        ]
        exports = [placed for n, item in enumerate(self._written.exports) for placed in self._each_export(n, item)]
        rows = [row for n, names in enumerate(self._written.priorities) for row in self._rows(("priorities", n), names)]
        return Items(imports, audiences, exports, rows)

    def _imports(self, n: int, item: ImportItem) -> Iterator[Placed[AccountItem]]:
        if not item.accounts:
            yield Placed(item, ("imports", n))
            return
        folders: dict[tuple[object, ...], str] = {}
        for number, account in enumerate(item.accounts):
            shared = item.model_fields_set - account.model_fields_set - _OWN
            found = account.model_copy(update={key: getattr(item, key) for key in shared})
            people = tuple(found.name if name == item.name else name for name in found.people)
            placed = Placed(
                found.model_copy(update={"people": people}), ("imports", n, "accounts", number), frozenset(shared)
            )
            if "account" not in item.model_fields_set | account.model_fields_set:
                raise self._file.refusal(
                    placed.place("account"),
                    "is missing",
                    "Write the id of the account, which `icontact-assets discover` shows.",
                )
            first = folders.setdefault((found.account, found.client_folder, found.filter_by_aid), found.name)
            if first != found.name:
                raise self._file.refusal(
                    placed.place("client_folder"),
                    f"{found.name!r} reads the same client folder as {first!r}",
                    "Correct one of the two, or remove it.",
                )
            yield placed

    def _each_audience(self, n: int, item: Audience) -> Iterator[Placed[Audience]]:
        at: Place = ("audiences", n)
        if item.name not in self._audiences:
            yield Placed(item, at)
            return
        for account in self._accounts[item.import_name]:
            update = self._named(account, item, at) | {"import_name": account.name}
            yield Placed(item.model_copy(update=update), at)

    def _each_export(self, n: int, item: ExportItem) -> Iterator[Placed[ExportItem]]:
        at: Place = ("exports", n)
        if item.name not in self._exports:
            yield Placed(item, at)
            return
        source = self._exports[item.name]
        for key in ("authorization", "account", "client_folder"):
            if key in item.model_fields_set:
                raise self._file.refusal(
                    (*at, key),
                    f"the audience is one for each account of {source}",
                    "Remove it, or export the audience of one account.",
                )
        others = [name for name, of in self._audiences.items() if of == source and name != item.audience]
        for number, name in enumerate(item.exclude):
            if name not in others:
                raise self._file.refusal(
                    (*at, "exclude", number),
                    f"found {shown(name)}",
                    f"Name other audiences of {source}: {', '.join(others) or 'none is declared'}.",
                )
        for account in self._accounts[source]:
            update = self._named(account, item, at) | {
                "audience": _of(account, item.audience),
                "exclude": tuple(_of(account, name) for name in item.exclude),
            }
            yield Placed(item.model_copy(update=update), at)

    def _rows(self, at: Place, names: Names) -> Iterator[tuple[Place, Names]]:
        """A row of priorities, once for each account if it orders exports that stand for several."""
        sources = [self._exports.get(name) for name in names]
        source = next((found for found in sources if found is not None), None)
        if source is None:
            yield at, names
            return
        for number, (name, found) in enumerate(zip(names, sources, strict=True)):
            if found != source:
                raise self._file.refusal(
                    (*at, number),
                    f"{name!r} is no export for each account of {source}, unlike others in this row",
                    "Name exports of one import, or those of one account, as `<account>_<name>`.",
                )
        for account in self._accounts[source]:
            yield at, tuple(_of(account, name) for name in names)

    def _named(self, account: AccountItem, item: Audience | ExportItem, at: Place) -> dict[str, str]:
        """What an item is called where it is that of one account."""
        name = _of(account, item.name)
        taken = self._taken[str(at[0])]
        fault = "is longer than 40 letters" if not NAME.fullmatch(name) else "is defined too" if name in taken else None
        if fault:
            raise self._file.refusal(
                (*at, "name"), f"for the account {account.name} it is {name!r}, which {fault}", "Write another name."
            )
        taken.add(name)
        return {"name": name, "label": f"{account.label}: {item.label}"}


def _of(account: AccountItem, name: str) -> str:
    return f"{account.name}_{name}"

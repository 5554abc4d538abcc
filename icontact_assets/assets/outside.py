"""iContact itself in the asset graph: the listings that are read, the lists that are filled. Dagster runs neither."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import dagster as dg

from icontact_assets.plain import code
from icontact_assets.records import IMPORT_TAG, export_key, service_key
from icontact_assets.settings.models import Export, Import, Settings
from icontact_assets.warehouse.tables import RAW_TABLES

_LISTINGS = {
    "contacts": "The contacts of the client folder.",
    "messages": "The messages of the client folder.",
    "sends": "The sends of messages.",
    "lists": "The lists of the client folder.",
    "subscriptions": "The subscriptions to the lists that exports or the option `lists` name.",
    "statistics": "iContact's own statistics, per message.",
    "activity": "The listings of opens, clicks, bounces and unsubscribes, per message.",
}
_KIND = "icontact"


def listing_key(import_name: str, table: str) -> dg.AssetKey:
    """Asset key of what a raw table is read from."""
    return service_key(import_name, table.removeprefix("raw_"))


def outside_assets(settings: Settings, raw: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """What these raw assets read, and the lists that exports write to."""
    keys = {key for asset in raw for key in asset.keys}
    # Dagster makes one definition of all specs. It would resolve the listings of all imports for the job of each.
    listings = [
        dg.AssetsDefinition(
            specs=[
                _listing(import_, table.name) for table in RAW_TABLES if dg.AssetKey([import_.name, table.name]) in keys
            ]
        )
        for import_ in settings.imports
    ]
    return [*listings, *([dg.AssetsDefinition(specs=lists)] if (lists := _lists(settings)) else [])]


def _listing(import_: Import, table: str) -> dg.AssetSpec:
    key = listing_key(import_.name, table)
    return dg.AssetSpec(
        key,
        description=f"{_LISTINGS[key.path[-1]]} In iContact, read for {code(import_.label)}.",
        group_name=f"{import_.name}_source",
        kinds={_KIND},
        tags={IMPORT_TAG: import_.name},
    )


def _lists(settings: Settings) -> list[dg.AssetSpec]:
    """A list for each client folder and list that exports name, downstream of these exports."""
    found: dict[dg.AssetKey, list[tuple[Export, str]]] = {}
    for export in settings.exports:
        folder = _folder(settings, export)
        lists = [export.list, *([export.remove.move_to] if export.remove and export.remove.move_to else [])]
        for name in lists:
            found.setdefault(service_key(folder, f"list_{_part_of_key(name)}"), []).append((export, name))
    return [_list(settings, key, writers) for key, writers in found.items()]


def _list(settings: Settings, key: dg.AssetKey, writers: list[tuple[Export, str]]) -> dg.AssetSpec:
    export, name = writers[0]
    import_ = settings.import_of(export)
    return dg.AssetSpec(
        key,
        deps=list(dict.fromkeys(export_key(settings, writer) for writer, _ in writers)),
        description="A list in iContact that exports write to. A row is a subscription.",
        group_name=f"{import_.name}_lists",
        kinds={_KIND},
        tags={IMPORT_TAG: import_.name},
        metadata={"list": dg.MetadataValue.text(name)},
    )


def _folder(settings: Settings, export: Export) -> str:
    """A name for the client folder of an export's list: the import that reads it, else its ids, if they are known."""
    if (schema := settings.schema_of_target(export)) is not None:
        return schema
    target = settings.target_of(export)
    if target.account_id and target.client_folder_id:
        return f"{target.account_id}_{target.client_folder_id}"
    return f"export_{export.name}"


def _part_of_key(name: str) -> str:
    """A list's id or name as a part of an asset key. Different names give different parts."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name)[:60]
    return plain if plain == name else f"{plain}_{hashlib.blake2b(name.encode(), digest_size=3).hexdigest()}"

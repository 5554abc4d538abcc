"""The component for a Dagster project of one's own: a `defs.yaml` with the settings in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component
from pydantic import BaseModel, Field, WrapValidator, create_model

from icontact_assets.build import build_defs
from icontact_assets.settings.load import settings_in
from icontact_assets.settings.models import Settings
from icontact_assets.settings.refusals import SettingsFile
from icontact_assets.settings.values import meaning
from icontact_assets.settings.written import Written

_VARIABLES = {"home": "ICONTACT_ASSETS_HOME", "database": "ICONTACT_ASSETS_DUCKDB"}
_PATHS = {
    "home": "The folder that state is kept in, from the project's root on.",
    "database": "The database file. Without it, warehouse.duckdb in `home`.",
}


class _Scaffolder(dg.Scaffolder[Any]):
    """Writes a `defs.yaml` that says what each part is for, and loads as it is."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        if request.scaffold_format == "yaml" and not request.append:
            text = Path(__file__).with_name("defs.example.yaml").read_text(encoding="utf-8")
            (request.target_path / "defs.yaml").write_text(text.replace("NAME", _name(request.target_path)))
        else:
            scaffold_component(request, {})


@dg.scaffold_with(_Scaffolder)
@dataclass(frozen=True)
class IContactComponent(dg.Component):
    """Contacts and activity of iContact in DuckDB tables, audiences, and exports of audiences to lists.

    The attributes of its `defs.yaml` are the sections of icontact.yaml, with `home` and `database`. Loading it reads
    the environment. What an asset looks like in Dagster is changed by the key `post_processing` of the file, or by a
    subclass with its own `get_asset_spec`.
    """

    settings: Settings

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(
            description="Contacts and activity of iContact in DuckDB tables, and audiences on iContact lists.",
            tags=["icontact", "duckdb"],
            produces=["asset", "asset_check", "job", "schedule", "sensor"],
        )

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return _attributes()

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> IContactComponent:
        given = {name: getattr(attributes, name) for name in attributes.model_fields_set} if attributes else {}
        rendered = context.resolution_context.at_path("attributes").resolve_value(given)
        places = {_VARIABLES[key]: str(rendered.pop(key)) for key in _VARIABLES if key in rendered}
        path = context.path / "defs.yaml"
        file = SettingsFile.read(path).section("attributes", _as_written(rendered))
        return cls(settings_in(file, {**os.environ, **places}, context.project_root, read_from=path))

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """What each asset of the component looks like. Override it to change all but the key."""
        return spec

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Sensors are named after the folder of the component, so that several can be loaded together."""
        return build_defs(self.settings, prefix=f"{_name(context.path)}_", translate=self.get_asset_spec)


def _name(folder: Path) -> str:
    return re.sub(r"\W", "_", folder.name, flags=re.ASCII)


@cache
def _attributes() -> type[BaseModel]:
    """The sections of icontact.yaml. They are validated with the environment, when what they refer to is known."""
    paths: dict[str, Any] = {key: (str | None, Field(None, description=text)) for key, text in _PATHS.items()}
    sections: dict[str, Any] = {
        name: (
            Annotated[field.annotation, WrapValidator(lambda value, _: value)],
            Field(None, description=meaning(Written, name)),
        )
        for name, field in Written.model_fields.items()
    }
    return create_model("IContactComponentModel", __base__=dg.Model, **paths, **sections)


def _as_written(value: Any) -> Any:
    """A value of YAML as the text that settings are read from."""
    if isinstance(value, Mapping):
        return {str(key): _as_written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

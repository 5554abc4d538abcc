"""iContact contacts and e-mail activity as Dagster assets in DuckDB. `icontact_assets.definitions` is the entry.

A project of your own imports `IContactComponent` or `build_defs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icontact_assets.build import build_defs
    from icontact_assets.component import IContactComponent

__all__ = ["IContactComponent", "build_defs"]

_MODULES = {"IContactComponent": "icontact_assets.component", "build_defs": "icontact_assets.build"}


def __getattr__(name: str) -> Any:
    # Dagster takes a second to import, which the command line does not need for most of what it does.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

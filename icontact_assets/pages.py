"""What the pages to send have in common: one HTML file each, which needs no other and holds no markup of others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from icontact_assets.errors import UserError
from icontact_assets.private import Readers


class PageNotWritten(UserError):
    """The file of a page cannot be written. The text says why, and the remedy."""


def page_template(folder: Path, filters: Mapping[str, Callable[..., str]]) -> Template:
    """The template `page.html` of a folder, which may take what `pages.html` has."""
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template("page.html")


def write_page(path: Path, html: str, readers: Readers) -> None:
    """Put a page in place of the one that is there. Raises PageNotWritten."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        readers.create(fresh)
        fresh.write_text(html, encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise PageNotWritten(f"The report cannot be written to {path}: {error.strerror}. Name another file.") from error

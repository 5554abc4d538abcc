"""Texts of others on a terminal and in Dagster's metadata: as they are, never as markup, and nothing in them acts."""

from __future__ import annotations

import io
import re
import sys
import unicodedata
from pathlib import Path

import dagster as dg
import pytest
from dagster._serdes import deserialize_value, serialize_value
from hypothesis import given, settings
from hypothesis import strategies as st

import icontact_assets
from icontact_assets.metadata import metadata_table
from icontact_assets.plain import plain
from icontact_assets.terminal import say, show

MARKUP = st.sampled_from(
    [
        "[/x]",
        "[red]",
        ":smile:",
        "<script>",
        "[x](javascript:y)",
        "![i](u)",
        "`",
        "|",
        "\\",
        "*",
        "_",
        "\n",
        "&lt;",
        "\x1b[2J",
    ]
)
TEXTS = st.lists(st.one_of(MARKUP, st.text(max_size=5)), max_size=6).map("".join)


@given(TEXTS)
def test_a_text_is_shown_as_it_is_and_does_not_act(text: str) -> None:
    shown = plain(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    acting = re.findall(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    if not acting:
        assert shown == text
    assert plain(shown) == shown


@settings(max_examples=25, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_a_table_on_the_terminal_holds_the_whole_of_every_text(texts: list[str]) -> None:
    stream = io.TextIOWrapper(buffer := io.BytesIO(), encoding="utf-8")
    before, sys.stdout = sys.stdout, stream
    try:
        show([(text, "end") for text in texts], headers=("text", "next"))
        say("\n".join(texts))
        stream.flush()
    finally:
        sys.stdout = before
    lines = buffer.getvalue().decode().split("\n")
    rows = [line[2:].rpartition("│ end")[0].rstrip() for line in lines if line.rstrip(" │").endswith("│ end")]
    assert rows == [plain(text).rstrip() for text in texts]
    assert lines[-1 - len("\n".join(texts).split("\n")) : -1] == [plain(line) for line in "\n".join(texts).split("\n")]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_lacks_a_character_gets_its_number(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(buffer := io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    show([("Ärger 日本", "x")])
    say("Ärger 日本")
    stream.flush()
    shown = "Ärger 日本".encode(encoding, "backslashreplace")
    assert buffer.getvalue().count(shown) == 2


@settings(max_examples=25, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.lists(TEXTS, max_size=4))
def test_a_table_in_metadata_holds_every_text_as_a_value(names: list[str], texts: list[str]) -> None:
    names = [f"{number}{name}" for number, name in enumerate(names)]
    table = metadata_table(names, [[text] * len(names) for text in texts])
    event = dg.AssetMaterialization("asset", metadata={"rows": table})
    kept = deserialize_value(serialize_value(event), dg.AssetMaterialization).metadata["rows"]
    assert isinstance(kept, dg.TableMetadataValue)
    assert [column.name for column in kept.schema.columns] == names
    assert [record.data for record in kept.records] == [dict.fromkeys(names, text) for text in texts]


def test_nothing_in_metadata_is_markdown() -> None:
    for path in Path(icontact_assets.__path__[0]).rglob("*.py"):
        assert not re.search(r"MetadataValue\.md|MarkdownMetadataValue|from_markup|\[/\w*\]\"", path.read_text()), path

"""Texts of others on a terminal and in Dagster's metadata: as they are, never as markup, and nothing in them acts."""

from __future__ import annotations

import html
import io
import re
import sys
import unicodedata
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from dagster._serdes import deserialize_value, serialize_value
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import icontact_assets
from icontact_assets.build import build_defs
from icontact_assets.metadata import code_block, metadata_table
from icontact_assets.plain import code, plain
from icontact_assets.settings.load import load_settings
from icontact_assets.terminal import say, show

ODD = """
imports:
  - {name: icontact, label: "ODD", account: 1, client_folder: 2, start_date: 2026-01-01}
audiences:
  - {name: readers, label: "ODD", import: icontact, where: "true"}
exports:
  - {name: readers, label: "ODD", audience: readers, list: "ODD"}
"""

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


def rendered(text: str) -> str:
    """As Dagster renders a description, with tables."""
    return MarkdownIt().enable("table").render(text)


@given(TEXTS, TEXTS)
def test_a_text_as_code_is_no_tag_no_link_and_no_table(name: str, other: str) -> None:
    shown = rendered(f"The list {code(name)} and {code(other)} of iContact.")
    names = [html.escape(plain(text), quote=False).replace('"', "&quot;") for text in (name, other)]
    expected = "<p>The list <code>{}</code> and <code>{}</code> of iContact.</p>"
    assert re.sub("<code> +</code>", "<code></code>", shown.strip()) == re.sub(
        "<code> +</code>", "<code></code>", expected.format(*names)
    )


def test_no_description_loses_a_text_or_makes_a_tag_of_it(tmp_path: Path) -> None:
    odd = "<script>x</script> `|` <list id> [x](javascript:y) ![i](u)"
    (tmp_path / "icontact.yaml").write_text(ODD.replace("ODD", odd))
    definitions = build_defs(load_settings({}, tmp_path))
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    schemas = [node.metadata.get("dagster/column_schema") for node in nodes]
    columns = [column for schema in schemas if isinstance(schema, dg.TableSchema) for column in schema.columns]
    descriptions = [
        *(node.description for node in nodes),
        *(column.description for column in columns),
        *(graph.get(key).description for key in graph.asset_check_keys),
        *(job.description for job in definitions.resolve_all_job_defs()),
    ]
    assert sum(odd in (text or "") for text in descriptions) >= 4
    for text in descriptions:
        assert not re.search(r"<(?!/?(p|code|em|strong)>)|&lt;(?![^<]*</code>)", rendered(text or "")), text


def test_a_preview_shows_values_as_people_read_them() -> None:
    at = datetime(2026, 11, 28, 9, 30, 12)
    values = [at, at.date(), {"email": at}, ["1", "2"], {}, None, True, 1.5, Decimal("1.50")]
    table = metadata_table([str(number) for number in range(len(values))], [values])
    assert list(table.records[0].data.values()) == [
        *("2026-11-28 09:30", "2026-11-28", "email: 2026-11-28 09:30", "1, 2", "", None, True, 1.5, "1.50")
    ]


@given(TEXTS)
def test_a_block_of_code_holds_the_whole_text(text: str) -> None:
    shown = rendered(str(code_block(text, "sql").value))
    assert re.fullmatch(r'<pre><code class="language-sql">[^<]*</code></pre>\n', shown)


def test_nothing_in_metadata_is_markdown_but_blocks_of_code_and_pictures() -> None:
    root = Path(icontact_assets.__path__[0])
    found = Counter(
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for _ in re.findall(r"MetadataValue\.md|MarkdownMetadataValue|from_markup|\[/\w*\]\"", path.read_text())
    )
    assert found == {"metadata.py": 1, "assets/pictures.py": 1}

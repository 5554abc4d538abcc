"""Draws the asset graph of an import with an audience and an export as docs/asset-graph.svg, from the definitions."""

from __future__ import annotations

from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from icontact_assets.build import build_defs
from icontact_assets.settings.load import load_settings

CONFIG = """
audiences: [{name: active_readers, import: icontact, where: last_active_ts IS NOT NULL}]
exports: [{name: active_readers, audience: active_readers, list: "1"}]
"""
COLOURS = {"raw": "#dbeafe", "mapped": "#dcfce7", "audiences": "#fef3c7"}
WIDTH, HEIGHT, GAP_X, GAP_Y = 190, 34, 60, 16


def main() -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "icontact.yaml").write_text(CONFIG)
        defs = build_defs(load_settings({}, Path(folder)))
    graph = defs.resolve_asset_graph()
    nodes = {key: graph.get(key) for key in graph.get_all_asset_keys()}
    depth: dict[dg.AssetKey, int] = {}

    def depth_of(key: dg.AssetKey) -> int:
        if key not in depth:
            depth[key] = 1 + max((depth_of(parent) for parent in nodes[key].parent_keys), default=-1)
        return depth[key]

    columns: dict[int, list[dg.AssetKey]] = {}
    for key in sorted(nodes, key=lambda key: (not str(nodes[key].group_name).endswith("_raw"), key.path)):
        columns.setdefault(depth_of(key), []).append(key)
    at = {
        key: (10 + column * (WIDTH + GAP_X), 10 + row * (HEIGHT + GAP_Y))
        for column, keys in columns.items()
        for row, key in enumerate(keys)
    }
    right = max(x for x, _ in at.values()) + WIDTH + 10
    bottom = max(y for _, y in at.values()) + HEIGHT + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}" font-family="sans-serif">']
    for key, node in nodes.items():
        for parent in node.parent_keys:
            (x1, y1), (x2, y2) = at[parent], at[key]
            x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT // 2, y2 + HEIGHT // 2
            middle = (x1 + x2) // 2
            parts.append(f'<path d="M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}" fill="none" stroke="#64748b"/>')
    for key, node in nodes.items():
        x, y = at[key]
        colour = COLOURS[str(node.group_name).rpartition("_")[2]]
        parts.append(
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colour}" stroke="#334155"/>'
        )
        parts.append(
            f'<text x="{x + WIDTH // 2}" y="{y + 22}" font-size="14" text-anchor="middle">{escape(key.path[-1])}</text>'
        )
    Path("docs/asset-graph.svg").write_text("\n".join([*parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()

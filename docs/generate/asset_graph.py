"""Draws the assets of an import with an audience and an export, and iContact at both ends, from the definitions."""

from __future__ import annotations

from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from icontact_assets.build import build_defs
from icontact_assets.settings.load import load_settings

CONFIG = """
audiences: [{name: readers, import: icontact, where: last_active_ts IS NOT NULL}]
exports: [{name: readers, audience: readers, list: "1"}]
"""
SOURCE, TARGET = "iContact", "a list in iContact"
COLOURS = {"raw": "#dbeafe", "mapped": "#dcfce7", "reports": "#fce7f3", "audiences": "#fef3c7"}
OUTSIDE = "#e2e8f0"
WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 146, 38, 34, 14, 14


def _assets() -> tuple[dict[str, set[str]], dict[str, str]]:
    """The parents of each box, and its colour."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "icontact.yaml").write_text(CONFIG)
        graph = build_defs(load_settings({}, Path(folder))).resolve_asset_graph()

    def name(key: dg.AssetKey) -> str:
        return key.path[-1]

    parents, colours = {SOURCE: set[str]()}, {SOURCE: OUTSIDE, TARGET: OUTSIDE}
    # iContact is one box at either end, whatever is read from it.
    own = {key for key in graph.get_all_asset_keys() if key.path[0] == "icontact"}
    for key in sorted(own, key=lambda key: key.to_user_string()):
        node = graph.get(key)
        parents[name(key)] = {name(parent) for parent in node.parent_keys & own} or {SOURCE}
        colours[name(key)] = COLOURS[str(node.group_name).rpartition("_")[2]]
    parents[TARGET] = {box for box in parents if box.startswith("export_")}
    return parents, colours


def svg() -> str:
    """The picture, always the same for the same definitions."""
    parents, colours = _assets()
    depth: dict[str, int] = {}

    def depth_of(box: str) -> int:
        if box not in depth:
            depth[box] = 1 + max((depth_of(parent) for parent in parents[box]), default=-1)
        return depth[box]

    columns: dict[int, list[str]] = {}
    for box in sorted(parents, key=lambda box: (not box.startswith("raw_"), box)):
        columns.setdefault(depth_of(box), []).append(box)
    tallest = max(len(boxes) for boxes in columns.values())
    bottom = 2 * EDGE + tallest * (HEIGHT + GAP_Y) - GAP_Y
    at = {}
    for column, boxes in columns.items():
        top = (bottom - len(boxes) * (HEIGHT + GAP_Y) + GAP_Y) // 2
        for row, box in enumerate(boxes):
            at[box] = (EDGE + column * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y))
    right = max(x for x, _ in at.values()) + WIDTH + EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}" font-family="sans-serif">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 Z" fill="#64748b"/></marker></defs>',
        f'<rect width="{right}" height="{bottom}" rx="10" fill="#ffffff"/>',
    ]
    for box, above in parents.items():
        for parent in sorted(above):
            (x1, y1), (x2, y2) = at[parent], at[box]
            x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT // 2, y2 + HEIGHT // 2
            # A line that passes columns keeps its height up to the last gap, so that it crosses no box.
            bend = x2 - GAP_X
            middle = (bend + x2) // 2
            parts.append(
                f'<path d="M{x1},{y1} H{bend} C{middle},{y1} {middle},{y2} {x2},{y2}" fill="none" stroke="#64748b" '
                'marker-end="url(#tip)"/>'
            )
    for box, (x, y) in at.items():
        parts.append(
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colours[box]}" stroke="#334155"/>'
        )
        parts.append(
            f'<text x="{x + WIDTH // 2}" y="{y + 24}" font-size="15" text-anchor="middle">{escape(box)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"

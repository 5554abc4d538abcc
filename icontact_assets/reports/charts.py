"""The plots of a report, as SVG within its page. pygal lays them out. Their colors and fonts are the page's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from pygal import Graph, HorizontalBar, Line
from pygal.style import Style

_FONT = 11
_WIDTH = 400
"""In which the font has this size. A page that is wider or narrower scales both."""

_STYLE = Style(
    font_family="sans-serif",
    label_font_size=_FONT,
    major_label_font_size=_FONT,
    legend_font_size=_FONT,
    value_font_size=_FONT,
)
_SETTINGS: dict[str, Any] = {
    "style": _STYLE,
    "js": (),
    "width": _WIDTH,
    "margin": 6,
    "margin_right": 20,
    "legend_at_bottom": True,
    "legend_box_size": 10,
    "truncate_label": -1,
    "truncate_legend": -1,
    "show_dots": False,
    "include_x_axis": True,
}


def lines(
    series: Mapping[str, Sequence[float | None]], labels: Sequence[str], *, title: str, description: str, id_: str
) -> Markup:
    """A line for each series over the same labels, from 0 on. `id_` is that of no other plot of the page."""
    chart = Line(
        **_SETTINGS,
        height=230,
        x_labels=labels,
        x_labels_major_count=min(4, len(labels)),
        show_minor_x_labels=False,
        show_y_guides=True,
        min_scale=2,
        max_scale=5,
        value_formatter=lambda value: f"{value:,.0f}",
    )
    for name, numbers in series.items():
        chart.add(name, list(numbers))
    return _inline(chart, title, description, id_)


def bars(
    series: Mapping[str, Sequence[float]], labels: Sequence[str], *, unit: str, title: str, description: str, id_: str
) -> Markup:
    """For each label a bar of each series, the first label above. `unit` follows the numbers."""
    chart = HorizontalBar(
        **_SETTINGS,
        height=70 + len(labels) * (14 + 12 * len(series)),
        x_labels=labels[::-1],
        min_scale=2,
        max_scale=5,
        show_legend=len(series) > 1,
        value_formatter=lambda value: f"{value:,.0f}{unit}",
    )
    for name, numbers in series.items():
        chart.add(name, list(numbers)[::-1])
    return _inline(chart, title, description, id_)


def _inline(chart: Graph, title: str, description: str, id_: str) -> Markup:
    """The drawing alone, with its title and description for those who do not see it."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        # Comments have a function as their tag. The rest of what goes is pygal's own colors, scripts and tooltips.
        for child in [
            each for each in parent if not isinstance(each.tag, str) or each.tag in ("defs", "desc", "title")
        ]:
            parent.remove(child)
        parent.attrib.pop("id", None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{id_}-title {id_}-desc"}
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, {"id": f"{id_}-{tag}"})
        element.text = text
        root.insert(place, element)
    # The serializer escapes the texts.
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704

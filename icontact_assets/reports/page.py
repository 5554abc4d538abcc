"""Makes the page of a report: one HTML file that needs no other, without anything about a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup

from icontact_assets.pages import page_template
from icontact_assets.plain import mask
from icontact_assets.reports import wording
from icontact_assets.reports.figures import Figures, Row
from icontact_assets.reports.highlights import highlights, wrong_beside
from icontact_assets.reports.tables import LEAST_DELIVERIES
from icontact_assets.warehouse.times import naive

_SIDE = 3
"""Messages at either end of the order that are shown, if there are more than twice as many."""
_LISTS = 5
"""Lists that a plot shows at most."""
_LONGEST = 100
"""Characters of a subject or name that are shown."""


def render(figures: Figures, label: str, now: datetime) -> str:
    """The page with these figures of an import named `label`, as HTML, made at `now` (aware)."""
    ranked = _ranked(figures.campaigns)
    return _template().render(
        figures=figures,
        label=label,
        made_at=naive(now),
        highlights=highlights(figures),
        wrong=wrong_beside(figures),
        ranked=ranked,
        unranked=len(figures.campaigns) - len(ranked),
        shown=ranked if len(ranked) <= 2 * _SIDE else [*ranked[:_SIDE], *ranked[-_SIDE:]],
        least=LEAST_DELIVERIES,
        plots=_plots(figures, ranked),
        change=wording.change,
        points=wording.points,
    )


@cache
def _template() -> Template:
    filters: dict[str, Callable[..., str]] = {
        "number": wording.number,
        "percent": wording.percent,
        "day": wording.day,
        "local": wording.local,
        "named": _named,
    }
    return page_template(Path(__file__).parent, filters)


def _named(row: Row) -> str:
    """What a message or list is called. A text of iContact may hold somebody's address."""
    name = row.get("subject") or row.get("name") or row.get("list_name") or row.get("message_id") or row["list_id"]
    shown = mask(str(name))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def _ranked(campaigns: Sequence[Row]) -> list[Row]:
    """Messages with enough deliveries, the best first: by the clicks of people, then by their opens."""
    enough = [row for row in campaigns if (row["delivered"] or 0) >= LEAST_DELIVERIES]
    return sorted(enough, key=lambda row: (-row["human_click_rate"], -row["human_open_rate"], row["message_id"]))


def _plots(figures: Figures, ranked: Sequence[Row]) -> Mapping[str, Markup]:
    # Each process that loads the definitions would pay for pygal, and one that makes a report is rare.
    from icontact_assets.reports.charts import bars, lines

    plots: dict[str, Markup] = {}
    days = [f"{row['day'].day} {row['day']:%b}" for row in figures.trend]
    for kind in ("opens", "clicks"):
        most = max(figures.trend, key=lambda row: row[f"human_{kind}"])
        plots[kind] = lines(
            {
                "people": [row[f"human_{kind}"] for row in figures.trend],
                "all": [row[kind] for row in figures.trend],
            },
            days,
            title=f"{kind.capitalize()} a day",
            description=f"Most without machines on {wording.day(most['day'])}: {most[f'human_{kind}']:,}.",
            id_=kind,
        )
    if ranked:
        plots["rates"] = bars(
            {
                "people": [row["human_open_rate"] * 100 for row in ranked[: 2 * _SIDE]],
                "all": [row["open_rate"] * 100 for row in ranked[: 2 * _SIDE]],
            },
            [_short(row) for row in ranked[: 2 * _SIDE]],
            unit=" %",
            title="Open rates of the best messages",
            description="Those with the highest click rate without machines, the best above.",
            id_="rates",
        )
    if figures.tiers:
        plots["tiers"] = bars(
            {"people": [row["people"] for row in figures.tiers]},
            [row["tier"] for row in figures.tiers],
            unit="",
            title="People by tier",
            description=", ".join(f"{row['tier']} {row['people']:,}" for row in figures.tiers),
            id_="tiers",
        )
    largest = [row for row in figures.lists if row["size"] is not None][:_LISTS]
    if largest and figures.period.days > 1:
        plots["lists"] = lines(
            {_short(row): figures.sizes[row["list_id"]] for row in largest},
            days[-figures.period.days :],
            title="Size of the largest lists",
            description=", ".join(f"{_short(row)} {row['size']:,} at the end" for row in largest),
            id_="lists",
        )
    return plots


def _short(row: Row) -> str:
    name = _named(row)
    return name if len(name) <= 24 else name[:23] + "…"

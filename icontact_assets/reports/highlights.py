"""The three things to know of a period, as sentences that follow from its figures by rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from icontact_assets.reports.figures import TIERS, Figures, Row
from icontact_assets.reports.wording import days, number, people, percent

_BY_CHANCE = 3.0
"""A change of fewer standard deviations counts as chance. Two would be too few where several figures are looked at."""
_COMPLAINTS, _BOUNCES, _UNSUBSCRIBES = 0.001, 0.02, 0.005
"""Rates above which mailbox providers, and iContact, ask what is wrong."""
_MACHINES = 0.3
"""The share of opens by machines above which the rate of all opens says little."""
_LEAST = 100
"""Below so many deliveries or opens, no rate is called wrong."""


@dataclass(frozen=True)
class _Change:
    text: str
    deviations: float


_COUNTS = {
    "human_openers": "{now} opened a message",
    "human_clickers": "{now} clicked",
    "unsubscribes": "{now} unsubscribed",
}
_RATES = {
    "early_open_rate": ("share that opened within 24 hours", "early_opens", "aged"),
    "early_click_rate": ("share that clicked within 24 hours", "early_clicks", "aged"),
    "bounce_rate": ("bounce rate", "unique_bounces", "sent"),
}
"""Of each rate its name, and what is counted of what. A message has it after a day: younger ones do not look worse."""


def highlights(figures: Figures) -> list[tuple[str, str]]:
    """The biggest change, what is wrong and who is drifting away, each with its heading. Opens and clicks of machines
    do not count."""
    return [
        ("The biggest change", _biggest_change(figures)),
        ("What is wrong", _wrong(figures)),
        ("Who is drifting away", _drifting(figures)),
    ]


def _biggest_change(figures: Figures) -> str:
    before = f"the {days(figures.period.days)} before"
    if not (figures.before["messages"] or figures.before["opens"] or figures.before["clicks"]):
        return f"There is nothing to compare with: in {before}, nothing was sent, opened or clicked."
    found = max(_changes(figures.totals, figures.before, before), key=lambda each: each.deviations, default=None)
    if found is None or found.deviations < _BY_CHANCE:
        return f"Nothing changed from {before} by more than chance explains."
    return found.text


def _changes(now: Row, before: Row, name: str) -> Iterator[_Change]:
    """The changes from the period before, named `name`, each with how many standard deviations it is from none."""
    for key, text in _COUNTS.items():
        new, old = now[key], before[key]
        if new + old:
            more = "more" if new > old else "fewer"
            by = f"{abs(new - old) / old * 100:,.0f} % {more} than" if old else "more than"
            yield _Change(
                f"{text.format(now=people(new))}, {by} in {name} ({number(old)}).", abs(new - old) / sqrt(new + old)
            )
    for key, (text, part, whole) in _RATES.items():
        new, old = now[key], before[key]
        if new is None or old is None:
            continue
        pooled = (now[part] + before[part]) / (now[whole] + before[whole])
        spread = sqrt(max(0.0, pooled * (1 - pooled)) * (1 / now[whole] + 1 / before[whole]))
        moved = "rose" if new > old else "fell"
        yield _Change(
            f"The {text} {moved} to {percent(new)}, from {percent(old)} for the messages of {name}.",
            abs(new - old) / spread if spread else 0.0,
        )


def _wrong(figures: Figures) -> str:
    found = [
        *(gap.text + (f" This is so since {gap.since}." if gap.since else "") for gap in figures.gaps if gap.serious),
        *_rates_wrong(figures.totals),
        *_domains_wrong(figures.domains, figures.totals),
        *_machines(figures.totals),
    ]
    if not found:
        return "Nothing that these figures show."
    more = len(found) - 1
    return found[0] + (f" There {'is' if more == 1 else 'are'} {more} more below, under the figures." if more else "")


def wrong_beside(figures: Figures) -> list[str]:
    """What else is wrong than data that is missing."""
    return [
        *_rates_wrong(figures.totals),
        *_domains_wrong(figures.domains, figures.totals),
        *_machines(figures.totals),
    ]


def _rates_wrong(totals: Row) -> Iterator[str]:
    if totals["delivered"] < _LEAST:
        return
    for key, most, text in (
        ("complaint_rate", _COMPLAINTS, "complained about the messages sent"),
        ("bounce_rate", _BOUNCES, "of the messages sent bounced"),
        ("unsubscribe_rate", _UNSUBSCRIBES, "of those who got the messages sent unsubscribed"),
    ):
        if (totals[key] or 0) > most:
            yield f"{percent(totals[key])} {text}. Above {percent(most)}, look for the reason."


def _domains_wrong(domains: list[Row], totals: Row) -> Iterator[str]:
    usual = totals["bounce_rate"]
    for row in domains:
        low = row["bounce_rate_low"]
        if usual is not None and low is not None and low > max(2 * usual, _BOUNCES):
            yield (
                f"At {row['domain']}, {percent(row['bounce_rate'])} of all mails ever sent bounced, far more than "
                f"elsewhere: it may refuse this sender."
            )


def _machines(totals: Row) -> Iterator[str]:
    opens = totals["opens"]
    share = 1 - totals["human_opens"] / opens if opens else 0.0
    if opens >= _LEAST and share > _MACHINES:
        yield f"Machines made {percent(share)} of the opens: go by the figures without machines."


_DOWN = TIERS[: TIERS.index("dormant") + 1]


def _drifting(figures: Figures) -> str:
    down = sum(
        count
        for (before, after), count in figures.moves.items()
        if before in _DOWN and after in _DOWN and _DOWN.index(after) > _DOWN.index(before)
    )
    back = sum(
        count
        for (before, after), count in figures.moves.items()
        if before in TIERS and after in ("loyal", "active") and before not in ("loyal", "active")
    )
    win_back, sunset = (sum(row[due] for row in figures.tiers) for due in ("win_back", "sunset"))
    sentences = [f"{people(down)} came to a lower tier, and {people(back)} became active or came back."]
    if not figures.moves:
        sentences = ["Nobody came to another tier in these days, as far as the tiers were computed in them."]
    if win_back or sunset:
        sentences.append(f"Now {people(win_back)} are due for a win-back, and {people(sunset)} for a sunset.")
    return " ".join(sentences)

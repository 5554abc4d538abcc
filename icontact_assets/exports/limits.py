"""The limits above which an export stops before it writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from icontact_assets.settings.models import ExportLimits


@dataclass(frozen=True)
class Figures:
    """What a plan would do."""

    members: int | None
    """The audience's size without those left out. None: an undo, which has no audience."""
    last_members: int | None
    """The same at the last export that wrote. None: there was none."""
    adds: int
    """People to be added. Those moved back onto the list count too."""
    removes: int
    list_size: int
    """`normal` subscriptions now."""


@dataclass(frozen=True)
class Exceeded:
    """A limit that a plan exceeds."""

    limit: str
    """Its name in the settings."""
    text: str


def exceeded(limits: ExportLimits, figures: Figures) -> tuple[Exceeded, ...]:
    """The limits that a plan exceeds, in the order of the settings. Pure."""
    found = []
    members, last = figures.members, figures.last_members
    if figures.adds > limits.adds:
        found.append(Exceeded("adds", f"{figures.adds} people would be added, at most {limits.adds} may be"))
    if figures.removes > limits.removes:
        found.append(Exceeded("removes", f"{figures.removes} people would be removed, at most {limits.removes} may be"))
    if figures.removes > limits.removed_share * figures.list_size:
        found.append(
            Exceeded(
                "removed_share",
                f"{figures.removes} of {figures.list_size} people on the list would be removed, at most "
                f"{limits.removed_share:.1%} may be",
            )
        )
    if members is None:
        return tuple(found)
    if members == 0 and limits.empty_audience == "stop":
        found.append(Exceeded("empty_audience", "the audience is empty, or all of it is left out"))
    if last is not None and members < last * (1 - limits.shrink):
        found.append(
            Exceeded(
                "shrink",
                f"the audience fell from {last} to {members} people (those left out not counted), at most "
                f"{limits.shrink:.1%} may leave it",
            )
        )
    if last and members > last * (1 + limits.growth):
        found.append(
            Exceeded(
                "growth",
                f"the audience grew from {last} to {members} people (those left out not counted), at most "
                f"{limits.growth:.1%} may come",
            )
        )
    return tuple(found)

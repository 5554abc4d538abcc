"""A plan as it is shown to people and programs: contact ids, counts and reasons, nothing of a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from icontact_assets.exports.plan import Plan

_SAMPLE = 10


def sample(ids: Sequence[str]) -> str:
    """The first ids, as people read them."""
    return ", ".join(ids[:_SAMPLE]) + (" ..." if len(ids) > _SAMPLE else "")


def plan_facts(made: Plan) -> dict[str, Any]:
    """What a plan says, in values of JSON, with every id."""
    back = [permit.contact_id for permit in made.removals if permit.list_id != made.live.list_id]
    away = [permit.contact_id for permit in made.removals if permit.list_id == made.live.list_id]
    reasons = Counter(denial.reason for denial in made.denials) + Counter(
        denied.denial.reason for denied in made.denied_removals
    )
    return {
        "plan": made.hash,
        "export": made.export,
        "mode": made.mode,
        "list": f"{made.live.name} ({made.live.list_id}), {made.live.size} people",
        "members": made.members,
        "add": len(made.additions),
        "add_ids": [permit.contact_id for permit in made.additions],
        "move_back": len(back),
        "move_back_ids": back,
        "remove": len(away),
        "remove_ids": away,
        "already_subscribed": len(made.already),
        "waiting_for_the_pace": len(made.waiting),
        "quiet_until": made.quiet_until.isoformat() if made.quiet_until else None,
        "skipped": dict(reasons + Counter([*made.unmatched.values(), *made.left_out.values()])),
        "external_changes": made.external.text(),
        "limits_exceeded": [item.text for item in made.exceeded],
    }

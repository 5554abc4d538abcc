"""What the answers say of opens, clicks, bounces and unsubscribes, and of the statistics beside them."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime

from icontact_assets.icontact.values import as_id, as_instant, as_int, as_text
from icontact_assets.probe.asking import age_in_days, all_sends, lost_opens, released_at, reported, searched, unsent
from icontact_assets.probe.findings import Finding, not_seen, unknown
from icontact_assets.probe.paging import begins_at
from icontact_assets.probe.sight import KINDS, Row, Sight, identical, ids_of

_FEW = 3
_MANY = 200
"""Rows after which what happens now and then should have happened."""
_OPENS = 30
_CHANCE = 3
"""Expected cases after which none is no chance."""
_SHIFT = 2


def _kinds(sight: Sight) -> str:
    return next((name for kind in KINDS for name in sight.names(f"{kind}:")), "opens:")


def _whole(sight: Sight) -> list[tuple[str, str, str]]:
    """Kind, message and read of each listing that came whole."""
    reads = [(kind, id_, sight.largest(kind, id_)) for kind in KINDS for id_ in sight.listings(kind)]
    return [read for read in reads if sight.is_whole(read[2])]


def _times(rows: list[Row], kind: str) -> list[datetime]:
    found = (as_instant(as_text(row.get(KINDS[kind]))) for row in rows)
    return [at for at in found if at is not None]


def activity_order(sight: Sight) -> Finding:
    key = "activity_order"
    orders: dict[str, str] = {}
    rows = reads = 0
    for kind in KINDS:
        for id_, names in sight.listings(kind).items():
            whole = sight.rows(sight.largest(kind, id_))
            if len(names) < 2 or len(whole) < _FEW:
                continue
            rows, reads = rows + len(whole), reads + len(names)
            if not all(any(begins_at(sight.rows(name), whole, n) for n in _shifts(sight, names)) for name in names):
                return Finding(
                    key, "shuffled", f"two reads of the same {kind} differ", {"rows": len(whole), "reads": len(names)}
                )
            if (order := _order(_times(whole, kind))) is not None:
                orders[kind] = order
    seen = {"rows": rows, "reads": reads}
    if not orders:
        return unknown(key, "no listing was long enough", **seen) if reads else not_seen(sight, key, _kinds(sight))
    shown = "; ".join(f"{kind} {order}" for kind, order in orders.items())
    found = set(orders.values())
    if found == {"appended"} or found == {"appended", "ascending"}:
        return Finding(key, "appended", f"not all by time, and the same each time ({shown})", seen)
    if len(found) > 1:
        return Finding(key, "mixed", shown, seen)
    return Finding(key, found.pop(), f"by time ({', '.join(orders)})", seen)


def _shifts(sight: Sight, names: list[str]) -> range:
    """By how many rows reads of one listing may differ at their begin: as many as came meanwhile."""
    totals = [total for name in names if (total := sight.total(name)) is not None]
    return range(1 + max(_SHIFT, max(totals, default=0) - min(totals, default=0)))


def _order(times: list[datetime]) -> str | None:
    if len(set(times)) < _FEW:
        return None
    rising = sorted(times)
    return "ascending" if times == rising else "descending" if times == rising[::-1] else "appended"


def activity_filters(sight: Sight) -> Finding:
    key, name = "activity_filters", "filtered"
    answer = sight.seen(name)
    if answer is None:
        if name not in sight.answers and sight.listings("opens") and sight.stopped is None:
            return unknown(key, "no message was opened by two people")
        return not_seen(sight, key, name)
    if not sight.is_page(name):
        return Finding(key, "other", f"it is answered {answer.status}")
    if answer.warnings:
        return Finding(key, "ignore", "a warning comes with the rows", {"warnings": len(answer.warnings)})
    people = len(set(ids_of(sight.rows(name), "contactId")))
    if people == 1:
        return Finding(key, "apply", "only rows of the one contact come", {"rows": len(sight.rows(name))})
    return Finding(
        key, "silent" if people else "other", "all rows come, without a warning" if people else "no rows come"
    )


def opens_rows(sight: Sight) -> Finding:
    key, longest, repeated = "opens_rows", 0, 0
    for id_ in sight.listings("opens"):
        rows = sight.rows(sight.largest("opens", id_))
        distinct = {(as_id(row.get("contactId")), as_text(row.get("openTime"))) for row in rows}
        people = Counter(contact for contact, _ in distinct)
        repeated = max(repeated, sum(count > 1 for count in people.values()))
        longest = max(longest, len(rows))
    if repeated:
        return Finding(key, "every", f"{repeated:,} people opened a message again", {"rows": longest})
    if longest >= _OPENS:
        return Finding(key, "first", "nobody has two opens of a message", {"rows": longest})
    return (
        unknown(key, "too few opens", rows=longest) if sight.listings("opens") else not_seen(sight, key, _kinds(sight))
    )


def identical_rows(sight: Sight) -> Finding:
    key = "identical_rows"
    reads = [sight.rows(sight.largest(kind, id_)) for kind in KINDS for id_ in sight.listings(kind)]
    rows, equal = sum(map(len, reads)), sum(map(identical, reads))
    if equal:
        return Finding(key, "keep", f"{equal:,} rows equal another", {"rows": rows})
    if rows >= _MANY:
        return Finding(key, "drop", "no row equals another", {"rows": rows})
    return unknown(key, "too few rows", rows=rows) if reads else not_seen(sight, key, _kinds(sight))


def retention_days(sight: Sight) -> Finding:
    key, read = "retention_days", sight.listings("opens")
    if not read:
        return not_seen(sight, key, _kinds(sight))
    sends = {as_id(row.get("messageId")): released_at(row) for row in sight.rows_of("sends")}
    lost = [id_ for id_ in read if lost_opens(sight, id_)]
    if lost:
        times = [at for id_ in read for at in _times(sight.rows(sight.largest("opens", id_)), "opens")]
        days = math.ceil(max((age_in_days(sight, at) for at in times), default=0))
        return Finding(key, days, f"no open is more than {days:,} days old", {"messages": len(read)})
    kept = [released for id_ in read if sight.rows(sight.largest("opens", id_)) and (released := sends.get(id_))]
    if not kept:
        return unknown(key, "no message with a known time was opened", messages=len(read))
    days = round(age_in_days(sight, min(kept)))
    return Finding(key, 0, f"a message of {days:,} days ago has its first opens", {"messages": len(read)})


def activity_of_deleted(sight: Sight) -> Finding:
    key = "activity_of_deleted"
    people = {id_ for kind in KINDS for id_ in ids_of(sight.rows_of(kind), "contactId")}
    if not people:
        return not_seen(sight, key, _kinds(sight)) if not sight.names("opens:") else unknown(key, "no activity")
    gone = 0
    for name in sight.names("contact:"):
        contact, answer = sight.body(name).get("contact"), sight.seen(name)
        if answer is None or name.split(":")[1] not in people:
            continue
        gone += answer.status == 404 or (isinstance(contact, dict) and contact.get("status") == "deleted")
    if gone:
        return Finding(key, "keep", "rows name contacts that are gone", {"contacts": len(people), "gone": gone})
    checked = max((_checked(sight, name, people) for name in searched(sight)), default=0)
    whole, deleted = sight.total("contacts") or 0, sight.deleted()
    expected = checked * deleted / max(1, whole + deleted)
    if expected >= _CHANCE:
        words = f"no row names a deleted contact, where {expected:.0f} were likely"
        return Finding(key, "drop", words, {"contacts": checked})
    return unknown(key, "no row names a deleted contact, which may be chance", contacts=checked)


def _checked(sight: Sight, name: str, people: set[str]) -> int:
    return len(people & set(ids_of(sight.rows(name), "contactId"))) if sight.is_whole(name) else 0


def statistics(sight: Sight) -> Finding:
    key = "statistics"
    names = sight.names("statistics:")
    if not names:
        return not_seen(sight, key, "statistics:")
    held = [name for name in names if isinstance(sight.body(name).get("statistics"), dict)]
    if not held:
        failed = [answer.status for name in names if (answer := sight.seen(name)) is not None]
        return Finding(
            key, "missing", f"no message has any (status {max(failed, default=0)})", {"messages": len(names)}
        )
    differences: list[tuple[int, int]] = []
    for kind, id_, name in _whole(sight):
        told = reported(sight, id_, kind)
        if told is not None:
            rows = sight.rows(name)
            # What happened since the probe began may be in the rows alone.
            before = len(rows) - sum(at > sight.now for at in _times(rows, kind))
            differences.append((min(0, told - before) + max(0, told - len(rows)), identical(rows)))
    if not differences:
        return unknown(key, "no listing came whole beside its statistics", messages=len(held))
    seen = {"listings": len(differences)}
    fewer, more = (sum(sign * difference > 0 for difference, _ in differences) for sign in (-1, 1))
    if not fewer + more:
        return Finding(key, "equal", "they equal the rows", seen)
    shown = f"{fewer + more} of {len(differences)} differ"
    if fewer and all(difference == -equal for difference, equal in differences):
        return Finding(key, "distinct", f"{shown}: they count equal rows once", seen)
    if not more:
        return Finding(key, "lagging", f"{shown}: they are behind the rows", seen)
    if not fewer:
        return Finding(key, "ever", f"{shown}: they count more than the rows", seen)
    return Finding(key, "other", f"{shown}, both ways", seen)


def automation_sends(sight: Sight) -> Finding:
    key = "automation_sends"
    if not sight.is_page("sends") or not sight.is_page("messages"):
        return not_seen(sight, key, "messages" if sight.is_page("sends") else "sends")
    if not all_sends(sight):
        return unknown(key, "not all sends were seen")
    without = unsent(sight)
    looked = [name for name in (f"unsent:{id_}" for id_ in without) if sight.is_page(name) or sight.body(name)]
    active = sum(_is_active(sight, name) for name in looked)
    seen = {"messages": len(looked)}
    if active:
        return Finding(key, "exclude", f"of messages without a send, {active} have activity", seen)
    if without and not looked:
        return not_seen(sight, key, f"unsent:{without[0]}")
    if not sight.rows("sends"):
        return unknown(key, "there are no sends")
    return Finding(key, "include", "no message without a send has activity", seen)


def _is_active(sight: Sight, name: str) -> bool:
    found = sight.body(name).get("statistics")
    if not isinstance(found, dict):
        return False
    opens = found.get("opens")
    return bool(as_int(found.get("delivered")) or (as_int(opens.get("total")) if isinstance(opens, dict) else 0))


def unknown_message(sight: Sight) -> Finding:
    key, name = "unknown_message", "unknown_message"
    answer = sight.seen(name)
    if answer is None:
        return not_seen(sight, key, name)
    if answer.status in (404, 500):
        return Finding(key, str(answer.status), f"it is answered {answer.status}")
    if sight.is_page(name) and not sight.rows(name):
        return Finding(key, "empty", "a page without rows")
    return Finding(key, "other", f"it is answered {answer.status}")


JUDGES = (
    activity_order, activity_filters, opens_rows, identical_rows, retention_days, activity_of_deleted, statistics,
    automation_sends, unknown_message,
)  # fmt: skip

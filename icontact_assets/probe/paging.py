"""What the answers say of pages: how large, in which order, and what becomes of terms that select rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from icontact_assets.icontact.values import as_int
from icontact_assets.probe.asking import LIST_VALUES
from icontact_assets.probe.findings import Finding, Setting, not_seen, unknown
from icontact_assets.probe.questions import Meaning, Value
from icontact_assets.probe.sight import KINDS, Sight, ids_of

_OUR_PAGE = 500
_OUR_LIST_VALUES = 50
_MOST_PAGE = 10_000
_DEFAULT_ROWS = 20
_TOO_LONG = (413, 414)


def _large(sight: Sight) -> list[str]:
    """The large pages of contacts that were asked for, the largest that came last."""
    return sorted(sight.names("contacts_large:"), key=lambda name: (sight.is_page(name), sight.asked.get(name, 0)))


def _cut(sight: Sight, name: str) -> bool:
    """Whether a page holds fewer rows than were asked for, and than there are."""
    rows, total = len(sight.rows(name)), sight.total(name)
    return 0 < rows < sight.asked.get(name, 0) and (total is None or rows < total)


def _page_size(rows: int) -> Setting:
    return Setting("ICONTACT_PAGE_SIZE", (f"ICONTACT_PAGE_SIZE={rows}",), in_yaml=False)


def _refused(sight: Sight) -> list[int]:
    return [
        sight.asked[name]
        for name in _large(sight)
        if (answer := sight.seen(name)) is not None and 400 <= answer.status < 500
    ]


def page_limit(sight: Sight) -> Finding:
    key, names = "page_limit", _large(sight)
    if not names:
        return not_seen(sight, key, "contacts_large:5000")
    best, refused = names[-1], _refused(sight)
    if not sight.is_page(best):
        return Finding(key, "other", "no page of contacts came, however small") if not refused else _all_refused(key)
    asked, rows = sight.asked[best], len(sight.rows(best))
    if refused:
        words = f"a page of {min(refused):,} is refused, one of {asked:,} comes"
        setting = _page_size(asked) if asked < _OUR_PAGE else None
        return Finding(key, "refuse", words, {"rows": rows}, setting=setting)
    failed = [name for name in names if not sight.is_page(name)]
    if failed:
        words = f"a page of {sight.asked[failed[0]]:,} fails, one of {asked:,} comes"
        usual = Meaning("handled", f"we ask for {_OUR_PAGE}, and for less where that fails")
        return Finding(key, "other", words, {"rows": rows}, instead=usual)
    if _cut(sight, best):
        # One row of difference may be a contact that vanished meanwhile.
        return Finding(key, "clamp", f"of {asked:,} asked for, {rows:,} came", {"rows": rows})
    if rows <= _OUR_PAGE:
        return unknown(key, f"all {rows:,} contacts came in one page", rows=rows)
    digits = 10 ** (len(str(rows)) - 1)
    setting = _page_size(min(rows // digits * digits, _MOST_PAGE))
    return Finding(key, "none", f"{rows:,} rows came in one page", {"rows": rows}, setting=setting)


def _all_refused(key: str) -> Finding:
    return Finding(
        key, "refuse", "no page of contacts comes, however small", instead=Meaning("report", "nothing can be read")
    )


def page_limit_rows(sight: Sight) -> Finding:
    key, names = "page_limit_rows", _large(sight)
    if not names or not sight.is_page(names[-1]):
        return not_seen(sight, key, names[-1] if names else "contacts_large:5000")
    best = names[-1]
    rows = len(sight.rows(best))
    if _refused(sight):
        return Finding(key, sight.asked[best], "the largest that is not refused", {"rows": rows})
    if _cut(sight, best):
        return Finding(key, rows, f"{rows:,} rows", {"rows": rows})
    return unknown(key, f"at least {rows:,} rows", rows=rows)


def messages_limit_rows(sight: Sight) -> Finding:
    key = "messages_limit_rows"
    name = "messages_large" if sight.is_page("messages_large") else "messages"
    return _other_limit(sight, key, [name] if sight.is_page(name) else [], "messages")


def activity_limit_rows(sight: Sight) -> Finding:
    names = [name for kind in KINDS for name in sight.names(f"{kind}:") if sight.is_page(name)]
    return _other_limit(sight, "activity_limit_rows", names, "opens:")


def _other_limit(sight: Sight, key: str, names: Sequence[str], missing: str) -> Finding:
    if not names:
        return not_seen(sight, key, next(iter(sight.names(missing)), missing))
    longest = max(names, key=lambda name: len(sight.rows(name)))
    cut = [name for name in names if _cut(sight, name)]
    rows = len(sight.rows(longest))
    if not cut:
        return unknown(key, f"at least {rows:,} rows", rows=rows)
    limit = max(len(sight.rows(name)) for name in cut)
    if limit == page_limit_rows(sight).answer:
        return Finding(key, 0, "as of contacts", {"rows": rows})
    return Finding(key, limit, f"{limit:,} rows", {"rows": rows})


def page_limit_echo(sight: Sight) -> Finding:
    key = "page_limit_echo"
    cut = [name for name, _ in sight.pages() if _cut(sight, name) and sight.asked[name] > 0]
    if not cut:
        return unknown(key, "no page was cut")
    # The one that was cut most: nothing else explains its limit.
    name = max(cut, key=lambda name: sight.asked[name] - len(sight.rows(name)))
    told, rows = as_int(sight.body(name).get("limit")), len(sight.rows(name))
    answer = "missing" if told is None else "asked" if told == sight.asked[name] else "applied"
    what = "no limit stands there" if told is None else f"it says {told:,} beside {rows:,} rows"
    return Finding(key, answer, what, {"pages": len(cut)})


def bad_limit(sight: Sight) -> Finding:
    key, names = "bad_limit", ("limit_zero", "limit_negative")
    seen = [name for name in names if sight.seen(name) is not None]
    if not seen:
        return not_seen(sight, key, names[0])
    default = len(sight.rows("contacts"))
    answers = [_bad(sight, name, default) for name in seen]
    # What limit=-1 gives tells the two apart where limit=0 brings no rows.
    answer = answers[0] if len(set(answers)) == 1 or answers[0] == "empty" else "other"
    if "" in answers:
        return not_seen(sight, key, seen[answers.index("")])
    shown = [
        f"{len(sight.rows(name)):,} rows" if sight.is_page(name) else f"status {getattr(sight.seen(name), 'status', 0)}"
        for name in seen
    ]
    return Finding(key, answer, " and ".join(dict.fromkeys(shown)), {"requests": len(seen)})


def _bad(sight: Sight, name: str, default: int) -> str:
    answer = sight.seen(name)
    if answer is not None and answer.status == 400:
        return "refuse"
    if not sight.is_page(name):
        return "other"
    rows = len(sight.rows(name))
    return "default" if rows == min(default, _DEFAULT_ROWS) and rows else "empty" if not rows else "other"


def past_end(sight: Sight) -> Finding:
    key, name = "past_end", "past_end"
    answer = sight.seen(name)
    if answer is None:
        why = "no total is told" if sight.is_page("contacts") and sight.total("contacts") is None else ""
        return unknown(key, why) if why and name not in sight.answers else not_seen(sight, key, name)
    if answer.status in (400, 404):
        return Finding(key, "refuse", f"it is answered {answer.status}")
    body = sight.body(name)
    if not body or body.get("errors"):
        return not_seen(sight, key, name)
    rows = body.get("contacts")
    if rows:
        return Finding(key, "other", "rows come", {"rows": len(sight.rows(name))})
    form = "missing" if "contacts" not in body else "null" if rows is None else "empty"
    return Finding(key, form, {"missing": "no array", "null": "null", "empty": "an empty array"}[form])


def offset(sight: Sight) -> Finding:
    key, first, second = "offset", sight.rows("contacts"), sight.rows("offset")
    if not sight.is_page("offset"):
        return not_seen(sight, key, "offset")
    if len(first) < 3:
        return unknown(key, "too few contacts", rows=len(first))
    if listing_order(sight).answer == "shuffled":
        return unknown(key, "the order is another each time")
    before, after = ids_of(first, "contactId"), ids_of(second, "contactId")
    common = min(len(before) - 1, len(after))
    joined = common > 0 and before[1 : 1 + common] == after[:common]
    return Finding(
        key, "rows" if joined else "other", "rows, from 0 on" if joined else "not rows", {"rows": len(second)}
    )


def totals(sight: Sight) -> Finding:
    key, pages = "totals", [name for name, resource in sight.pages() if resource in ("contacts", "messages", *KINDS)]
    if not pages:
        return not_seen(sight, key, "contacts")
    told = sum(sight.total(name) is not None for name in pages)
    answer = "told" if told == len(pages) else "missing"
    return Finding(key, answer, f"{told} of {len(pages)} pages tell it", {"pages": len(pages)})


def listing_order(sight: Sight) -> Finding:
    key = "listing_order"
    pages = [name for name in (*sight.names("contacts_large:"), "contacts") if sight.rows(name)]
    if not pages:
        return not_seen(sight, key, "contacts")
    ids = max((ids_of(sight.rows(name), "contactId") for name in pages), key=len)
    messages = [ids_of(sight.rows(name), "messageId") for name in ("messages", "messages_large") if sight.rows(name)]
    reads = [ids_of(sight.rows(name), "contactId") for name in pages]
    seen = {"contacts": len(ids), "reads": len(reads)}
    if not _agree(reads) or not _agree(messages):
        return Finding(key, "shuffled", "another order at each read", seen)
    if len(ids) < 3 or len(reads) < 2:
        return unknown(key, "too few contacts or reads", **seen)
    numbers = [int(id_) for id_ in ids]
    for answer, words, reverse in (("ascending", "by rising id", False), ("descending", "by falling id", True)):
        if numbers == sorted(numbers, reverse=reverse):
            return Finding(key, answer, words, seen)
    return Finding(key, "stable", "not by id, and the same at each read", seen)


def _agree(reads: Sequence[Sequence[str]]) -> bool:
    """Whether reads of one listing begin alike. One that changed meanwhile may have shifted by a row or two."""
    if len(reads) < 2:
        return True
    longest = max(reads, key=len)
    return all(any(begins_at(read, longest, shift) for shift in (0, 1, 2)) for read in reads)


def begins_at(read: Sequence[object], whole: Sequence[object], shift: int) -> bool:
    """Whether a read is what the other is from its first row on, one of them shifted by so many rows."""
    for one, other in ((read, whole), (whole, read)):
        common = min(len(one), len(other) - shift)
        if list(one[:common]) == list(other[shift : shift + common]) and (common > shift or not shift):
            return True
    return False


def _without_a_page(sight: Sight, key: str, name: str) -> Finding:
    answer = sight.seen(name)
    if answer is not None and answer.status == 400:
        return Finding(key, "refuse", "it is answered 400")
    return not_seen(sight, key, name)


def orderby(sight: Sight) -> Finding:
    key, name = "orderby", "ordered"
    answer = sight.seen(name)
    if answer is None or not sight.is_page(name):
        return _without_a_page(sight, key, name)
    if answer.warnings:
        return Finding(key, "warn", "a warning comes with the rows", {"warnings": len(answer.warnings)})
    ids = [int(id_) for id_ in ids_of(sight.rows(name), "contactId")]
    before = [int(id_) for id_ in ids_of(sight.rows("contacts"), "contactId")]
    if len(ids) < 3:
        return unknown(key, "too few contacts", rows=len(ids))
    falling = before != sorted(before, reverse=True)
    applied = ids == sorted(ids, reverse=falling)
    words = "the rows come as asked" if applied else "the rows come as before"
    return Finding(key, "apply" if applied else "silent", words, {"rows": len(ids)})


def contact_id_comparison(sight: Sight) -> Finding:
    key, name = "contact_id_comparison", "larger"
    answer, text = sight.seen(name), sight.seen("larger_text")
    if answer is None or not sight.is_page(name):
        return _without_a_page(sight, key, name)
    if answer.warnings:
        return Finding(key, "warn", "a warning comes with the rows", {"warnings": len(answer.warnings)})
    asked = sorted(map(int, set(ids_of(sight.rows_of("contacts"), "contactId"))))
    ids = [int(id_) for id_ in ids_of(sight.rows(name), "contactId")]
    total, whole = sight.total(name), sight.total("contacts")
    seen = {"rows": len(ids)}
    if total is not None and total == whole:
        return Finding(key, "silent", "all contacts come", seen)
    if len(ids) <= 1 and (total or 0) <= 1 < len(asked):
        return Finding(key, "equals", "only the one of that id comes", seen)
    than = sight.larger_than[name]
    if any(id_ <= than for id_ in ids):
        if all(str(id_) > str(than) for id_ in ids):
            return Finding(key, "text", "ids are compared as texts", seen)
        return Finding(key, "silent", "others come too, without a warning", seen)
    if text is not None and sight.is_page("larger_text") and sight.total("larger_text") != whole and whole is not None:
        return Finding(key, "text", "ids are compared as texts", seen)
    return Finding(key, "apply", "only larger ids come", seen)


def unknown_term(sight: Sight) -> Finding:
    key, name = "unknown_term", "unknown_term"
    answer = sight.seen(name)
    if answer is None or not sight.is_page(name):
        return _without_a_page(sight, key, name)
    if answer.warnings:
        length = len(answer.warnings[0])
        return Finding(
            key, "warn", f"a warning of {length:,} characters comes with the rows", {"warnings": len(answer.warnings)}
        )
    if not sight.rows(name):
        if not sight.rows("contacts"):
            return unknown(key, "there are no contacts")
        return Finding(key, "empty", "no rows come")
    return Finding(key, "silent", "all rows come, without a warning", {"rows": sight.total(name) or 0})


def max_list_values(sight: Sight) -> Finding:
    return _longest(sight, "max_list_values", lambda status: status not in _TOO_LONG, lambda _, count: count)


def max_url_length(sight: Sight) -> Finding:
    return _longest(sight, "max_url_length", lambda status: status in _TOO_LONG, lambda length, _: length)


def _longest(sight: Sight, key: str, is_about: Callable[[int], bool], measured: Callable[[int, int], int]) -> Finding:
    names = sight.names("known:")
    if not names:
        return not_seen(sight, key, f"known:{LIST_VALUES[0]}")
    first, last = names[0], names[-1]
    count, answer = int(last.split(":")[1]), sight.seen(first)
    if answer is None or (not sight.is_page(last) and not is_about(answer.status)):
        return not_seen(sight, key, last)
    if answer.warnings and sight.is_page(first):
        return unknown(key, "the search by id is ignored, with a warning")
    if sight.is_page(first) or not is_about(answer.status):
        return Finding(key, 0, f"{count} ids in one search are accepted", {"ids": count})
    reached = count if sight.is_page(last) else 0
    value: Value = measured(sight.lengths[last], reached) if reached else 1
    words = f"{LIST_VALUES[0]} ids are answered {answer.status}, {reached} are accepted"
    short = Meaning("report", f"we send {_OUR_LIST_VALUES} ids in one search")
    return Finding(key, value, words, {"ids": reached}, instead=short if reached < _OUR_LIST_VALUES else None)


JUDGES = (
    page_limit, page_limit_rows, messages_limit_rows, activity_limit_rows, page_limit_echo, bad_limit, past_end, offset,
    totals, listing_order, orderby, contact_id_comparison, unknown_term, max_list_values, max_url_length,
)  # fmt: skip

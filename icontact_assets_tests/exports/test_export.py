"""Exports to the sandbox: the list that results, every person's outcome, and what happens when things go wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icontact_assets.exports import apply
from icontact_assets.exports.run import ExportError
from icontact_assets.icontact.errors import BudgetSpent, Refused, Rejected, UnknownOutcome
from icontact_assets_tests.harness import LIST, House, on_both

STATUSES = ("normal", "bounced", "donotcontact", "pending", "invitable")


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    house.store.audience(*ids)


@pytest.fixture
def small_batches(monkeypatch):
    """Ten people to a request."""
    monkeypatch.setattr(apply, "BATCH", 10)


def run_row(house: House, *columns: str) -> tuple:
    [row] = house.store.rows(f"SELECT {', '.join(columns)} FROM export_runs WHERE run_id = 'run{house.runs}'")
    return row


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(STATUSES) | st.just("normal"),
            st.sampled_from([None, None, "normal", "pending", "unsubscribed"]),
            st.booleans(),
            st.sampled_from([None, None, None, "reading", "event"]),
        ),
        min_size=6,
        max_size=12,
    )
)
def test_the_list_ends_as_old_members_plus_audience_minus_those_who_may_not_be_mailed(house, world):
    house.forget()
    expected = {}
    for id_, (status, on, member, history) in enumerate(world, start=1):
        house.contact(id_, status, on=on)
        if on is not None:
            expected[id_] = on
        elif member and status == "normal" and history is None:
            expected[id_] = "normal"
        if history == "reading":
            row = {"list_id": str(LIST), "contact_id": str(id_), "status": "unsubscribed"}
            house.store.insert("raw_subscriptions", **row)
        if history == "event":
            house.store.insert("raw_activity", message_id="1", contact_id=str(id_), event_type="unsubscribe")
    ids = [id_ for id_, (_, _, member, _) in enumerate(world, start=1) if member]
    house.store.audience(*ids)
    before = house.on_list()

    report = house.export()
    assert house.on_list() == expected
    assert {id_ for post in house.posts() for id_ in post} == set(expected) - set(before)
    assert set(house.outcomes()) == set(ids)
    counts = (report.added, report.already_subscribed, sum(report.skipped.values()), report.remaining)
    outcomes = list(house.outcomes().values())
    assert counts == (*(outcomes.count(word) for word in ("added", "already_subscribed", "skipped")), 0)
    assert report.list_size_after == list(expected.values()).count("normal")

    house.sandbox.control("log/clear")
    again = house.export()
    assert house.posts() == []
    assert (again.added, again.planned, again.already_subscribed) == (0, 0, report.added + report.already_subscribed)


def test_a_dry_run_does_all_but_write(house):
    people(house, 1, 2)
    house.contact(3, "bounced")
    house.store.audience(1, 2, 3)
    report = house.export("dry_run")
    assert house.posts() == []
    assert house.on_list() == {}
    assert (report.planned, report.added, report.list_size_before, report.list_size_after) == (2, 0, 0, 0)
    assert house.outcomes() == {1: "planned", 2: "planned", 3: "skipped"}


@on_both
def test_batches_hold_at_most_100_and_each_person_once(house):
    ids = range(1, 102)
    people(house, *ids)
    report = house.export()
    posts = house.posts()
    assert [len(post) for post in posts] == [100, 1]
    assert sorted(id_ for post in posts for id_ in post) == list(ids)
    assert house.on_list() == dict.fromkeys(ids, "normal")
    assert (report.added, report.remaining, report.list_size_after) == (101, 0, 101)
    # lists, empty list, contacts, two batches, the list again
    assert report.requests == 6


def test_a_run_leaves_its_row(house):
    people(house, 1)
    house.contact(2, "bounced", on="normal")
    report = house.export()
    assert run_row(house, "status", "reason", "list_id", "mode", "audience", "audience_storage_id") == (
        "done", None, str(LIST), "add", "everybody", "77",
    )  # fmt: skip
    assert run_row(house, "planned", "added", "already_subscribed", "skipped", "refused", "remaining") == (
        1,
        1,
        0,
        0,
        0,
        0,
    )
    assert run_row(house, "list_size_before", "list_size_after", "requests") == (1, 2, report.requests)
    assert run_row(house, "audience_version", "plan_hash") == (report.audience_version, report.plan_hash)


def test_a_refusal_in_a_200_is_a_refusal_with_the_services_words(house):
    people(house, 1, 2, 3)
    # The contact becomes one that may not be mailed after its status was read.
    house.fault(
        method="POST",
        do={
            "kind": "edit",
            "when": "before",
            "edits": [{"path": "contacts/update", "contact_id": 2, "status": "donotcontact"}],
        },
    )
    report = house.export()
    assert house.outcomes() == {1: "added", 2: "refused", 3: "added"}
    assert (report.added, report.remaining) == (2, 0)
    assert report.refused == {"Contact N must not be contacted and was not subscribed to list N": 1}
    assert house.store.rows("SELECT reason, response FROM export_outcomes WHERE outcome = 'refused'") == [
        ("iContact did not confirm it", "Contact 2 must not be contacted and was not subscribed to list 5004")
    ]


def test_refusals_that_name_nobody_keep_all_words_without_addresses(house):
    people(house, 1, 2)
    house.fault(
        method="POST",
        do={
            "kind": "reply",
            "status": 200,
            "body": {
                "subscriptions": [{"subscriptionId": f"{LIST}_1", "status": "pending"}],
                "warnings": ["planted9@example.com left.", "No more."],
            },
        },
    )
    report = house.export()
    rows = house.store.rows("SELECT contact_id, outcome, reason, response FROM export_outcomes ORDER BY contact_id")
    assert rows == [
        ("1", "failed", "iContact answered with another status than normal", "pending"),
        ("2", "failed", "iContact did not confirm it", "<address> left. No more."),
    ]
    assert report.failed == {"pending": 1, "<address> left. No more.": 1}


def test_a_200_that_confirms_nobody_is_no_success(house):
    people(house, 1)
    house.fault(method="POST", do={"kind": "reply", "status": 200, "body": {"subscriptions": None}})
    report = house.export()
    assert report.failed == {"iContact did not confirm it": 1}
    assert house.outcomes() == {1: "unconfirmed"}


def test_a_row_of_another_list_confirms_nothing(house):
    people(house, 1)
    row = {"subscriptionId": "5003_1", "listId": "5003", "contactId": "1", "status": "normal"}
    house.fault(method="POST", do={"kind": "reply", "status": 200, "body": {"subscriptions": [row]}})
    assert house.export().failed == {"iContact did not confirm it": 1}
    assert house.outcomes() == {1: "unconfirmed"}


def test_a_confirmation_that_changed_nothing_is_found(house):
    people(house, 1, 2)
    row = {"subscriptionId": f"{LIST}_1", "listId": LIST, "contactId": 1, "status": "normal"}
    house.fault(method="POST", do={"kind": "reply", "status": 200, "body": {"subscriptions": [row]}})
    report = house.export()
    assert report.added == 0
    assert report.failed == {
        "iContact confirmed it, but the list does not show it": 1,
        "iContact did not confirm it": 1,
    }
    assert house.outcomes() == {1: "unconfirmed", 2: "unconfirmed"}


def test_somebody_added_by_hand_meanwhile_is_already_subscribed(house):
    people(house, 1, 2)
    house.sandbox.control("switches", post_existing_subscription="warning")
    house.fault(
        method="POST",
        do={
            "kind": "edit",
            "when": "before",
            "edits": [{"path": "subscriptions/set", "list_id": LIST, "contact_id": 1}],
        },
    )
    report = house.export()
    assert house.outcomes() == {1: "already_subscribed", 2: "added"}
    assert (report.added, report.already_subscribed, report.refused) == (1, 1, {})


def test_one_bad_row_does_not_fail_its_batch(house):
    people(house, *range(1, 21))
    house.sandbox.control("switches", resubscribe="409")
    house.fault(
        method="POST",
        nth=1,
        do={
            "kind": "edit",
            "when": "before",
            "edits": [{"path": "contacts/update", "contact_id": 7, "status": "donotcontact"}],
        },
    )
    report = house.export()
    assert (report.added, report.remaining) == (19, 0)
    assert house.outcomes()[7] == "refused"
    assert house.on_list() == dict.fromkeys([*range(1, 7), *range(8, 21)], "normal")


@pytest.mark.usefixtures("small_batches")
def test_a_request_that_is_at_fault_itself_stops_the_run(house):
    people(house, *range(1, 12))
    house.fault(method="POST", do={"kind": "reply", "status": 405, "body": {"errors": ["Method Not Allowed"]}})
    with pytest.raises(ExportError) as caught:
        house.export()
    assert isinstance(caught.value.__cause__, Rejected)
    assert caught.value.report.remaining == 1


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("applied", [True, False])
def test_after_a_lost_answer_the_list_is_read_before_anything_is_repeated(house, applied):
    people(house, *range(1, 14))
    house.contact(500, on="normal")
    house.fault(method="POST", nth=1, do={"kind": "reset", "apply": applied})
    report = house.export()
    assert house.on_list() == dict.fromkeys([*range(1, 14), 500], "normal")
    assert (report.added, report.remaining, report.list_size_after) == (13, 0, 14)
    posts = house.posts()
    assert [len(post) for post in posts] == ([10, 3] if applied else [10, 10, 3])
    methods = [(row["method"], row["path"].rpartition("/")[2]) for row in house.sandbox.control("log")]
    first = methods.index(("POST", "subscriptions"))
    assert methods[first + 1] == ("GET", "subscriptions")
    lost = house.store.rows("SELECT count(*) FROM export_outcomes WHERE reason LIKE '%answer was lost%'")
    assert lost == [(10 if applied else 0,)]


@on_both
def test_half_a_lost_batch_is_repeated_for_the_others_only(house):
    people(house, 1, 2, 3)
    house.fault(method="POST", nth=1, do={"kind": "reset"})
    done = [{"path": "subscriptions/set", "list_id": LIST, "contact_id": 2}]
    house.fault(method="GET", path="subscriptions", nth=2, do={"kind": "edit", "when": "before", "edits": done})
    house.export()
    assert house.posts() == [[1, 2, 3], [1, 3]]
    assert house.on_list() == dict.fromkeys((1, 2, 3), "normal")


def test_after_a_lost_answer_somebody_is_found_wherever_the_list_shows_them(house):
    house.contacts(*range(500, 515), on="normal")
    people(house, 1, 2)
    house.fault(method="POST", nth=1, do={"kind": "reset"})
    # A list that is not shown in the order of its growth, and from which somebody is removed at the same time.
    moved = [
        {"path": "subscriptions/set", "list_id": LIST, "contact_id": 1, "position": 0},
        {"path": "subscriptions/delete", "list_id": LIST, "contact_id": 500},
    ]
    house.fault(method="GET", path="subscriptions", nth=2, do={"kind": "edit", "when": "before", "edits": moved})
    house.export()
    assert house.posts() == [[1, 2], [2]]
    assert house.outcomes() == {1: "added", 2: "added"}


def test_an_answer_that_says_nothing_about_people_is_resolved_by_the_list(house):
    people(house, 1, 2)
    house.fault(method="POST", do={"kind": "reply", "status": 200, "body": {}, "apply": True})
    report = house.export("mirror")
    assert (report.added, house.outcomes()) == (2, {1: "added", 2: "added"})
    house.store.audience(1)
    assert house.export("mirror").removed == 1


def test_who_leaves_while_an_answer_is_lost_is_not_posted_again(house):
    people(house, 1, 2)
    house.fault(method="POST", nth=1, do={"kind": "reset"})
    left = [{"path": "subscriptions/set", "list_id": LIST, "contact_id": 2, "status": "unsubscribed"}]
    house.fault(method="GET", path="subscriptions", nth=2, do={"kind": "edit", "when": "before", "edits": left})
    house.export()
    assert house.posts() == [[1, 2], [1]]
    assert house.outcomes() == {1: "added", 2: "skipped"}
    assert house.on_list() == {1: "normal", 2: "unsubscribed"}


@pytest.mark.usefixtures("small_batches")
def test_an_answer_lost_twice_stops_the_run_with_what_was_done(house):
    people(house, *range(1, 13))
    house.fault(method="POST", nth=[2, 3], do={"kind": "reset"})
    with pytest.raises(ExportError) as caught:
        house.export()
    assert isinstance(caught.value.__cause__, UnknownOutcome)
    assert (caught.value.report.added, caught.value.report.remaining) == (10, 2)
    assert run_row(house, "status", "added", "remaining") == ("failed", 10, 2)
    house.export()
    assert house.on_list() == dict.fromkeys(range(1, 13), "normal")
    first, *lost, last = house.posts()
    assert (len(first), len(lost)) == (10, 2)
    assert sorted(first + last) == list(range(1, 13))


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("answer", "error", "unresolved"),
    [
        ({"status": 402, "body": {"errors": ["The bill of owner@example.com is unpaid"]}}, Refused, 0),
        ({"status": 503, "body": {"errors": ["Service Unavailable"]}}, UnknownOutcome, 10),
    ],
)
def test_a_failure_in_the_middle_keeps_what_was_done_and_the_next_run_resumes(house, answer, error, unresolved):
    people(house, *range(1, 26))
    house.fault(method="POST", after=1, times=2, do={"kind": "reply", **answer})
    with pytest.raises(ExportError) as caught:
        house.export()
    assert isinstance(caught.value.__cause__, error)
    assert "@" not in str(caught.value)
    assert "\n" not in str(caught.value)
    report = caught.value.report
    assert (report.added, report.remaining, report.list_size_after) == (10, 15, None)
    assert sorted(house.outcomes().values()) == ["added"] * 10 + ["intended"] * unresolved
    assert run_row(house, "status", "added", "remaining") == ("failed", 10, 15)

    house.sandbox.control("log/clear")
    house.sandbox.control("faults/clear")
    added_before = {id_ for id_, on in house.on_list().items() if on == "normal"}
    report = house.export()
    assert (report.already_subscribed, report.added, report.remaining) == (10, 15, 0)
    assert {id_ for post in house.posts() for id_ in post} == set(range(1, 26)) - added_before


@pytest.mark.usefixtures("small_batches")
def test_a_spent_budget_ends_the_run_with_what_was_done(house):
    people(house, *range(1, 26))
    with pytest.raises(ExportError) as caught:
        house.export(requests={"per_day": 4})
    assert isinstance(caught.value.__cause__, BudgetSpent)
    assert (caught.value.report.added, caught.value.report.remaining, caught.value.report.requests) == (10, 15, 4)
    assert len(house.outcomes()) == 10


def test_no_plan_no_write(house):
    people(house, 1)
    with pytest.raises(ExportError, match="made no plan and wrote nothing: There is no list 'Nobody'") as caught:
        house.export(wanted="Nobody")
    assert caught.value.report is None
    assert house.posts() == []
    assert run_row(house, "status", "list_id", "planned") == ("failed", None, None)
    assert run_row(house, "reason")[0].startswith("There is no list 'Nobody'")


def test_old_statuses_are_read_again_right_before_the_batch(house):
    people(house, 1, 2)
    house.clock.step = timedelta(minutes=1.5)
    house.fault(
        path="contacts",
        nth=1,
        do={"kind": "edit", "edits": [{"path": "contacts/update", "contact_id": 2, "status": "donotcontact"}]},
    )
    report = house.export()
    assert house.posts() == [[1]]
    assert house.outcomes() == {1: "added", 2: "skipped"}
    assert report.skipped == {"the contact is donotcontact": 1}


@pytest.mark.usefixtures("small_batches")
def test_a_step_that_is_tried_again_in_its_run_remembers_the_people_it_added(house):
    people(house, *range(1, 13))
    house.fault(method="POST", nth=2, do={"kind": "reply", "status": 402})
    with pytest.raises(ExportError):
        house.export(run_id="one")
    house.export(run_id="one")
    assert house.outcomes("one") == dict.fromkeys(range(1, 13), "added")
    assert house.store.rows("SELECT count(*) FROM export_runs") == [(1,)]


def test_no_address_is_left_behind(house):
    people(house, 1, 2)
    house.fault(method="POST", nth=1, do={"kind": "warn", "texts": ["planted1@example.com is odd"]})
    house.export()
    house.fault(path="lists", do={"kind": "reply", "status": 403, "body": {"errors": ["not planted1@example.com"]}})
    with pytest.raises(ExportError) as caught:
        house.export()
    assert "@" not in str(caught.value)
    for table in ("export_runs", "export_outcomes", "audience_members", "audience_changes"):
        assert "@" not in str(house.store.rows(f"SELECT * FROM {table}"))


def test_the_order_of_listings_and_replies_does_not_matter(house):
    house.sandbox.control("switches", listing_order="descending", bulk_reply_order="shuffled", ids="mixed")
    house.contacts(*range(200, 220), on="normal")
    people(house, *range(1, 61))
    house.sandbox.control("switches", page_limit_rows=25)
    report = house.export()
    assert (report.added, report.list_size_before, report.list_size_after) == (60, 20, 80)
    assert set(house.outcomes().values()) == {"added"}

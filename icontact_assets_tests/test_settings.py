"""Settings: the contract of the environment, and that every error names the place and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Audience, SettingsError
from icontact_assets.settings.values import meaning
from icontact_assets.settings.written import AuthorizationItem, ExportItem, ImportItem, Written
from icontact_assets_tests import odd_settings
from icontact_assets_tests.odd_settings import ODD, SETTINGS, VARIABLES, combinations, document, load_variable

IMPORT = "imports:\n  - name: newsletter\n    account: 1\n    client_folder: 2\n"
ANOTHER = "  - name: again\n    account: 1\n    client_folder: 2\n"
EXPORT = "exports:\n  - {name: e, audience: a, list: 1"
AUDIENCE = "audiences:\n  - {name: a, import: icontact, where: 'true'}\n"
TWO_AUDIENCES = AUDIENCE + "  - {name: b, import: icontact, where: 'true'}\n"
TWO_EXPORTS = TWO_AUDIENCES + "exports:\n  - {name: e, audience: a, list: 1}\n  - {name: f, audience: b, list: 2}\n"
TWO_IMPORTS = """\
imports:
  - {name: one, account: 1, client_folder: 2}
  - {name: two, account: 1, client_folder: 3}
audiences:
  - {name: a, import: one, where: "true"}
  - {name: b, import: two, where: "true"}
exports:
  - {name: e, audience: a, list: 1}
  - {name: f, audience: b, list: 2%s}
"""


def one_export(text: str) -> str:
    return TWO_AUDIENCES + f"exports:\n  - name: e\n    audience: a\n    list: 1\n    {text}\n"


def export(options: str) -> str:
    return f"{AUDIENCE}{EXPORT}, {options}}}\n"


def load(tmp_path: Path, text: str, **environ: str):
    (tmp_path / "icontact.yaml").write_text(text)
    return load_settings(environ, tmp_path)


def test_environment_alone_makes_one_import(tmp_path: Path) -> None:
    environ = {
        "ICONTACT_BASE_URL": "http://127.0.0.1:1/icp",
        "ICONTACT_APP_ID": "app",
        "ICONTACT_API_USERNAME": "user",
        "ICONTACT_API_PASSWORD": "pass",
        "ICONTACT_ACCOUNT_ID": "11",
        "ICONTACT_CLIENT_FOLDER_ID": "22",
        "ICONTACT_ASSETS_DUCKDB": "elsewhere/x.duckdb",
        "ICONTACT_START_DATE": "2025-02-03",
        "ICONTACT_REQUESTS_PER_SECOND": "0.5",
        "ICONTACT_REQUESTS_PER_MINUTE": "0",
        "ICONTACT_REQUESTS_PER_DAY": "100",
        "ICONTACT_PAGE_SIZE": "50",
        "ICONTACT_WORKERS": "3",
    }
    settings = load_settings(environ, tmp_path)
    (import_,) = settings.imports
    assert (import_.name, import_.ready(), import_.start_date) == ("icontact", ("11", "22"), date(2025, 2, 3))
    assert (import_.limits.per_second, import_.limits.per_minute, import_.limits.per_day) == (0.5, 0, 100)
    assert (import_.page_size, import_.workers, import_.schema_drift) == (50, 3, "warn")
    assert settings.duckdb_path == tmp_path / "elsewhere/x.duckdb"
    assert settings.home == tmp_path / ".icontact"
    assert "pass" not in repr(settings).replace("password", "")


def test_unset_credentials_load_and_are_named_when_needed(tmp_path: Path) -> None:
    settings = load(tmp_path, IMPORT, ICONTACT_APP_ID="app")
    with pytest.raises(SettingsError, match="ICONTACT_API_USERNAME, ICONTACT_API_PASSWORD are unset"):
        settings.import_named("newsletter").ready()


def test_several_imports_audiences_and_exports(tmp_path: Path) -> None:
    text = """
authorizations:
  - {name: agency, app_id: x, username: "${WHO}", password: "${SECRET}"}
imports:
  - {name: one, authorization: agency, account: 1, client_folder: 2, keep_updated: true, limits: {per_day: 9}}
  - {name: two, authorization: agency, account: 1, client_folder: "${FOLDER}", start_date: 2025-01-01, schema_drift: fail}
audiences:
  - {name: a, import: two, query: "SELECT ic_contact_id FROM icontact_profiles"}
exports:
  - {name: e, audience: a, list: 5001, client_folder: 3}
"""
    settings = load(tmp_path, text, WHO="me", SECRET="s3cret", FOLDER="3")
    one, two = settings.imports
    assert (one.keep_updated, one.limits.per_day, two.limits.per_day) == (True, 9, 5000)
    assert (two.ready(), two.start_date) == (("1", "3"), date(2025, 1, 1))
    assert (one.schema_drift, two.schema_drift) == ("warn", "fail")
    assert settings.import_of(settings.export("e")) == two
    assert settings.export("e").mode == "dry_run"


def test_an_export_with_everything(tmp_path: Path) -> None:
    options = (
        "mode: mirror, remove: {move_to: Archive}, adopt_existing: true, external_changes: repair, consent: strict, "
        "suppression: {file: never.csv}, limits: {adds: 5, removes: 4, removed_share: 0.1, empty_audience: allow, shrink: 0.3, "
        "growth: 0.2}, approve: 0123456789abcdef0123456789abcdef, pace: {adds_per_day: 7, quiet_hours: '22:00-07:00', "
        "time_zone: Europe/Berlin}, recheck: 12, match: email, account: 5, client_folder: 9"
    )
    settings = load(tmp_path, export(options), ICONTACT_ACCOUNT_ID="1", ICONTACT_CLIENT_FOLDER_ID="2")
    export_ = settings.export("e")
    assert (export_.remove.move_to, export_.adopt_existing, export_.external_changes) == ("Archive", True, "repair")
    assert (export_.consent, export_.suppression.file, export_.recheck) == ("strict", tmp_path / "never.csv", 12)
    assert tuple(export_.limits.model_dump().values()) == (5, 4, 0.1, "allow", 0.3, 0.2)
    assert tuple(export_.pace.model_dump().values()) == (7, "22:00-07:00", "Europe/Berlin")
    target = settings.target_of(export_)
    assert (target.account_id, target.client_folder_id) == ("5", "9")
    assert settings.schema_of_target(export_) is None
    assert settings.import_of(export_).client_folder_id == "2"


def test_an_export_is_careful_by_default(tmp_path: Path) -> None:
    settings = load(tmp_path, export("mode: mirror, remove: unsubscribe"))
    export_ = settings.export("e")
    assert (export_.remove.move_to, export_.adopt_existing, export_.external_changes) == (None, False, "report")
    assert (export_.consent, export_.suppression, export_.approve, export_.folder) == ("list", None, None, None)
    assert tuple(export_.limits.model_dump().values()) == (10_000, 1_000, 0.2, "stop", 0.5, 1.0)
    assert settings.schema_of_target(export_) == "icontact"


def test_exports_exclude_split_hold_out_at_random_and_are_ordered(tmp_path: Path) -> None:
    text = """
audiences:
  - {name: a, import: icontact, where: "true"}
  - {name: b, import: icontact, where: "true"}
exports:
  - {name: third, audience: a, list: 1, holdout: 12.5}
  - {name: alone, audience: a, list: 1}
  - {name: first, audience: a, list: 1, exclude: [b], split: {of: test, from: 33.33, to: 100}}
  - {name: second, audience: b, list: 1}
priorities:
  - [first, second, third]
"""
    settings = load(tmp_path, text)
    assert {export.name: [other.name for other in export.before] for export in settings.exports} == {
        "third": ["first", "second"],
        "alone": [],
        "first": [],
        "second": ["first"],
    }
    first, third = settings.export("first"), settings.export("third")
    assert first.exclude == ("b",)
    assert first.split is not None
    assert (first.split.of, str(first.split.start), str(first.split.end)) == ("test", "33.33", "100")
    assert (str(third.holdout), first.holdout, third.split) == ("12.5", 0, None)
    assert third.before[0] == first


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("imports: [\n", ["icontact.yaml:2", "not readable as YAML"]),
        ("- a\n", ["found a list", "Write sections"]),
        ("import:\n  - a\n", [":1: import", "not supported", "imports"]),
        (IMPORT + "    colour: red\n", [":5: imports[0].colour", "not supported"]),
        (IMPORT + "    drift: warn\n", [":5: imports[0].drift", "not supported"]),
        (IMPORT + "    start_date: 2024-13-01\n", [":5: imports[0].start_date", "2024-13-01", "YYYY-MM-DD"]),
        (IMPORT + "    schema_drift: stop\n", [":5: imports[0].schema_drift", "stop", "'evolve', 'warn' or 'fail'"]),
        (IMPORT + "    keep_updated: maybe\n", [":5: imports[0].keep_updated", "maybe"]),
        (IMPORT + "    limits: {per_day: -1}\n", [":5: imports[0].limits.per_day", "-1"]),
        (IMPORT + "    authorization: nobody\n", [":5: imports[0].authorization", "nobody"]),
        (IMPORT + "  - name: newsletter\n", [":5: imports[1].name", "is defined twice"]),
        (
            IMPORT + "    people: [newsletter, shop]\n",
            [":5: imports[0].people[1]", "'shop'", "Name one of: newsletter"],
        ),
        (IMPORT + "    people: [newsletter, newsletter]\n", ["people[1]", "named twice"]),
        (IMPORT + ANOTHER + "    people: [newsletter]\n", ["imports[1].people", "write [again, newsletter]"]),
        (IMPORT + ANOTHER + "    people: [again, newsletter]\n", [":8: imports[1].people[1]", "same client folder"]),
        ("imports:\n  - name: Main\n", [":2: imports[0].name", "lower-case letters"]),
        ("imports:\n  - name: main\n", ["imports[0].name"]),
        ("imports:\n  - name: a\n    account: 1\n", ["imports[0].client_folder", "is missing", "discover"]),
        ("authorizations:\n  - {name: a, app_id: x, username: y, password: letmein}\n", ["password", "${ENV_NAME}"]),
        ("audiences:\n  - {name: a, import: other, where: x}\n", ["audiences[0].import", "other", "icontact"]),
        ("audiences:\n  - {name: a, import: icontact}\n", ["a condition or a query"]),
        (
            "audiences:\n  - {name: a, import_name: icontact, where: x}\n",
            [":2: audiences[0].import_name", "not supported"],
        ),
        (
            "audiences:\n  - {name: a, import: , where: x}\n",
            ["audiences[0].import", "is missing", "Write the name of the"],
        ),
        (IMPORT.replace("1", "") + "    colour:\n", [":3: imports[0].account", "is missing", "discover"]),
        (IMPORT + "    keep_updated:\n", [":5: imports[0].keep_updated", "found nothing, expected true or false"]),
        (
            AUDIENCE + "exports:\n  - {name: e, audience: b, list: 1}\n",
            ["exports[0].audience", "'b'", "Name one of: a"],
        ),
        (AUDIENCE + "exports:\n  - {name: e, audience: a}\n", ["exports[0].list", "is missing"]),
        (export("mode: mirrors"), [":4: exports[0].mode", "mirrors"]),
        (export("mode: mirror"), [":4: exports[0].remove", "a mirror removes people", "move_to"]),
        (export("mode: mirror, remove: x"), ["exports[0].remove", "unsubscribe"]),
        (export("mode: mirror, remove: {move_to: ''}"), ["exports[0].remove", "move_to"]),
        (export("mode: mirror, remove: {move_to: 1}"), ["exports[0].remove.move_to", "the list of the export itself"]),
        (export("mode: add, remove: unsubscribe"), ["exports[0].remove", "mode add removes nobody"]),
        (export("mode: add, adopt_existing: true"), ["exports[0].adopt_existing", "removes nobody"]),
        (export("mode: add, limits: {removes: 3}"), ["exports[0].limits.removes", "removes nobody"]),
        (export("mode: mirror, remove: unsubscribe, adopt_existing: maybe"), ["exports[0].adopt_existing", "maybe"]),
        (export("external_changes: fix"), ["exports[0].external_changes", "fix"]),
        (export("consent: lax"), ["exports[0].consent", "lax"]),
        (export("suppression: people.csv"), ["exports[0].suppression", "found 'people.csv'"]),
        (export("suppression: "), ["exports[0].suppression", "found nothing", "{file: people.csv}"]),
        (export("suppression: {file: a.csv, table: b}"), ["exports[0].suppression", "not exactly one source"]),
        (export("suppression: {table: a-b}"), ["exports[0].suppression.table", "a-b"]),
        (export("limits: {adds: -1}"), ["exports[0].limits.adds", "-1"]),
        (export("limits: {removed_share: 20}"), ["exports[0].limits.removed_share", "20"]),
        (export("limits: {empty_audience: maybe}"), ["exports[0].limits.empty_audience", "maybe"]),
        (export("limits: {colour: red}"), ["exports[0].limits.colour", "not supported"]),
        (export("mode: add, approve: 12"), ["exports[0].approve", "'12'", "icontact-assets plan e"]),
        (export("mode: dry_run, approve: 0123456789abcdef0123456789abcdef"), ["exports[0].approve", "writes nothing"]),
        (export("mode: dry_run, pace: {adds_per_day: 5}"), ["exports[0].pace", "writes nothing"]),
        (export("mode: add, pace: {}"), ["exports[0].pace", "limits nothing"]),
        (export("mode: add, pace: {adds_per_day: 0}"), ["exports[0].pace.adds_per_day", "0"]),
        (export("mode: add, pace: {quiet_hours: '22-7'}"), ["exports[0].pace.quiet_hours", "22:00-07:00"]),
        (export("mode: add, pace: {quiet_hours: '22:00-22:00'}"), ["exports[0].pace.quiet_hours", "HH:MM-HH:MM"]),
        (export("mode: add, pace: {adds_per_day: 5, time_zone: UTC}"), ["exports[0].pace.time_zone", "no quiet hours"]),
        (
            export("mode: add, pace: {quiet_hours: '22:00-07:00', time_zone: Mars}"),
            ["exports[0].pace.time_zone", "tz database"],
        ),
        (export("recheck: 0"), ["exports[0].recheck", "0"]),
        (export("match: name"), ["exports[0].match", "'name'"]),
        (export("match: email"), ["exports[0].match", "client_folder"]),
        (export("client_folder: 9"), ["exports[0].client_folder", "belongs to one client folder", "match: email"]),
        (export("authorization: other, match: email, client_folder: 9"), ["exports[0].authorization", "other"]),
        (
            AUDIENCE + "exports:\n  - {name: e, audience: a, list: 1, colour: x}\n",
            ["exports[0].colour", "not supported"],
        ),
        (
            IMPORT + "    refresh: {by_age: [{until_days: 3, poll_days: 0, verify_days: 7}]}\n",
            ["imports[0].refresh.by_age", "a last one without"],
        ),
        (
            IMPORT + "    refresh: {by_age: [{poll_days: 1, verify_days: 0}]}\n",
            ["imports[0].refresh.by_age[0].verify_days", "greater than or equal to 1"],
        ),
        (IMPORT + "    refresh: {pages: 3}\n", ["imports[0].refresh.pages", "not supported"]),
        (one_export("exclude: b"), [":8: exports[0].exclude", "found 'b'", "Write [...]"]),
        (one_export("exclude: [b, c]"), [":8: exports[0].exclude[1]", "found 'c'", "of the import icontact: b."]),
        (one_export("exclude: [a]"), [":8: exports[0].exclude[0]", "found 'a'", "Name other audiences"]),
        (TWO_IMPORTS % ", exclude: [a]", [":9: exports[1].exclude[0]", "import two: none is declared"]),
        (one_export("split: 50"), [":8: exports[0].split", "Write `key: value` lines"]),
        (one_export("split: {of: s, to: 50}"), [":8: exports[0].split.from", "is missing"]),
        (one_export("split: {of: s, from: 50, to: 50}"), [":8: exports[0].split", "`from` (50) must be less"]),
        (
            one_export("split: {of: s, from: 0, to: 101}"),
            [":8: exports[0].split.to", "101", "less than or equal to 100"],
        ),
        (one_export("split: {of: s, from: 0, to: 0.001}"), [":8: exports[0].split.to", "2 decimal places"]),
        (one_export("split: {of: A/B, from: 0, to: 50}"), [":8: exports[0].split.of", "A/B"]),
        (one_export("split: {of: s, from: 0, to: 50, by: x}"), [":8: exports[0].split.by", "Known here: of, from, to"]),
        (one_export("holdout: 100"), [":8: exports[0].holdout", "100", "less than 100"]),
        (one_export("holdout: some"), [":8: exports[0].holdout", "some"]),
        (TWO_EXPORTS + "priorities: [e, f]\n", [":7: priorities[0]", "found 'e'", "Write [...]"]),
        (TWO_EXPORTS + "priorities:\n  - [e, g]\n", [":8: priorities[0][1]", "found 'g'", "Name one of: e, f."]),
        (
            TWO_EXPORTS + "priorities:\n  - [e, f]\n  - [f, e]\n",
            [":9: priorities[1][0]", "'f' is named twice", "one place"],
        ),
        (TWO_EXPORTS + "priorities:\n  - [e, [f]]\n", [":8: priorities[0][1]", "found a list", "expected text"]),
        (TWO_EXPORTS + "priorities:\n  - [e, e]\n", [":8: priorities[0][1]", "'e' is named twice"]),
        (TWO_IMPORTS % "" + "priorities:\n  - [e, f]\n", [":11: priorities[0][1]", "import two", "one client folder"]),
        ("schedule: {daily_at: '25:00'}\n", ["schedule.daily_at", "HH:MM"]),
        ("schedule: {time_zone: Mars}\n", ["schedule.time_zone", "tz database"]),
        ("reports: {sunset_days: 90}\n", ["reports", "`sunset_days` (90) must be more than `win_back_days` (90)"]),
    ],
)
def test_errors_name_the_place_and_the_remedy(tmp_path: Path, text: str, says: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    for words in says:
        assert words in str(caught.value)
    assert "letmein" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ICONTACT_BASE_URL", "http://app.icontact.com/icp"),
        ("ICONTACT_START_DATE", "2024-02-30"),
        ("ICONTACT_PAGE_SIZE", "many"),
        ("ICONTACT_WORKERS", "0"),
        ("ICONTACT_REQUESTS_PER_DAY", "-5"),
        ("ICONTACT_ASSETS_CONFIG", "missing.yaml"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({name: value}, tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"audiences: !!python/object:os.system x\n",
            ":1: found a tag (!). Tags are not supported: remove it, or quote the value.",
        ),
        (b"\naudiences: &x [*x]\n", ":2: found an alias (*) of nothing that ends before it."),
        (b"a: " + b"[" * 1000, ":1: found more than 20 levels"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 10)) for i in range(9)),
            ":5: found more than 100,000 values",
        ),
        (b"schedule:\n---\nimports:\n", ":2: found a second document"),
        (b"schedule:\n\x00\n", ":2: found the character #x0000"),
        ("schedule:\n".encode("utf-16"), ":1: found a byte that is not UTF-8"),
        (b"schedule:\n  \xff: 1\n", ":2: found a byte that is not UTF-8"),
        (b"#" * 300_000, "is larger than 262,144 bytes"),
        (b'audiences:\n  - {name: "\\ud83c"}\n', ":2: found an escape that is no character"),
        (b"[a]: b\n", ":1: found a key that is not text"),
        (b"schedule: {time_zone: America}\n", "schedule.time_zone: found 'America'"),
        (b"schedule: {time_zone: [UTC]}\n", "schedule.time_zone: found a list"),
        (b"audiences: {a: b}\n", ":1: audiences: found a mapping. Write each of the audiences as an item"),
    ],
)
def test_what_is_no_file_of_settings_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "icontact.yaml").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, tmp_path)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def fields(kind: Any) -> Iterator[tuple[str, str, str]]:
    """Every field of a model and of the models in it: its name, its key in the file, what it says of itself."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield f"{kind.__name__}.{name}", field.alias or name, meaning(kind, name)
            yield from fields(field.annotation)
    for part in get_args(kind):
        yield from fields(part)


def test_every_setting_says_what_it_is() -> None:
    found = {name: text for name, _, text in fields(Written)}
    assert {"ExportItem.holdout", "AgeStep.poll_days", "Split.start", "Suppression.file", "Schedule.daily_at"} <= set(
        found
    )
    # What is missing is asked for in these words.
    assert [name for name, text in found.items() if not text] == []


def test_every_setting_is_in_the_example_and_among_those_that_are_tried() -> None:
    example = (Path(__file__).parent.parent / "icontact_assets" / "icontact.example.yaml").read_text()
    keys = {key for _, key, _ in fields(Written)}
    assert {key for key in keys if not re.search(rf"\b{key}:|`{key}`", example)} == set()
    tried = {(section, key.partition(".")[0]) for section, key in SETTINGS}
    items = {"authorizations": AuthorizationItem, "imports": ImportItem, "audiences": Audience, "exports": ExportItem}
    written = {(section, f.alias or name) for section, item in items.items() for name, f in item.model_fields.items()}
    # An audience has either a condition or a query.
    assert written - tried == {("audiences", "query")}


def test_a_folder_is_no_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "icontact.yaml").mkdir()
    with pytest.raises(SettingsError, match="is no file"):
        load_settings({}, tmp_path)


def test_a_byte_order_mark_anchors_and_merge_keys_are_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "\ufeffimports:\n  - &one {name: one, account: 1, client_folder: 2, keep_updated: true}\n"
        "  - {<<: *one, name: two, client_folder: 3}\n",
    )
    assert [(i.name, i.client_folder_id, i.keep_updated) for i in settings.imports] == [
        ("one", "2", True),
        ("two", "3", True),
    ]


@given(st.sampled_from(list(combinations())))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_for_a_setting_loads_or_is_named(tmp_path: Path, chosen: tuple[str, str, str]) -> None:
    assert odd_settings.load(tmp_path, document(*chosen))


@given(st.sampled_from(VARIABLES), st.sampled_from([value for value in ODD if "\0" not in value]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_variable_holds_loads_or_is_named(tmp_path: Path, variable: str, value: str) -> None:
    assert load_variable(tmp_path, variable, value)


@pytest.mark.parametrize(
    "text",
    [
        "imports:\n  - {name: export_x, account: 1, client_folder: 2}\naudiences:\n  - {name: a, import: export_x, where: x}\n"
        "exports:\n  - {name: x_import, audience: a, list: 1}\n",
        "imports:\n  - {name: x, account: 1, client_folder: 2}\n  - {name: x__audience_a, account: 1, client_folder: 2}\n"
        "audiences:\n  - {name: a__raw_lists, import: x, where: x}\n",
    ],
)
def test_names_that_dagster_would_take_for_one_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="would mean two things"):
        load(tmp_path, text)

"""Settings: an import of several accounts is what the same imports written out are, and errors name where it is not."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from icontact_assets.build import build_defs
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings, SettingsError

TEMPLATE = """
authorizations:
  - {name: agency, app_id: x, username: y, password: "${SECRET}"}
  - {name: own, app_id: z, username: y, password: "${SECRET}"}
imports:
  - name: clients
    description: A client of ours.
    authorization: agency
    start_date: 2026-01-02
    keep_updated: true
    people: [clients]
    limits: {per_day: 9}
    accounts:
      - {name: acme, label: Acme, account: 1, client_folder: 11}
      - {name: bolt, account: 2, client_folder: "${BOLT}", authorization: own, start_date: 2026-02-03, keep_updated: false}
      - {name: coil, account: 3, client_folder: 13, limits: {per_second: 2}, people: [coil, bolt]}
audiences:
  - {name: fans, label: Fans, import: clients, where: email_click_ct > 2}
  - {name: buyers, import: clients, where: email_click_ct > 3}
  - {name: some, import: bolt, where: "true"}
exports:
  - {name: fans, label: Fans, audience: fans, list: Fans, exclude: [buyers], suppression: {file: never.csv}}
  - {name: buyers, audience: buyers, list: Buyers}
  - {name: some, audience: some, list: Some, exclude: [bolt_fans]}
  - {name: more, audience: bolt_fans, list: More}
priorities:
  - [buyers, fans]
  - [some, more]
"""
WRITTEN_OUT = """
authorizations:
  - {name: agency, app_id: x, username: y, password: "${SECRET}"}
  - {name: own, app_id: z, username: y, password: "${SECRET}"}
imports:
  - {name: acme, label: Acme, description: A client of ours., authorization: agency, account: 1, client_folder: 11,
     start_date: 2026-01-02, keep_updated: true, people: [acme], limits: {per_day: 9}}
  - {name: bolt, description: A client of ours., authorization: own, account: 2, client_folder: "${BOLT}",
     start_date: 2026-02-03, people: [bolt], limits: {per_day: 9}}
  - {name: coil, description: A client of ours., authorization: agency, account: 3, client_folder: 13,
     start_date: 2026-01-02, keep_updated: true, people: [coil, bolt], limits: {per_second: 2}}
audiences:
  - {name: acme_fans, label: "Acme: Fans", import: acme, where: email_click_ct > 2}
  - {name: bolt_fans, label: "bolt: Fans", import: bolt, where: email_click_ct > 2}
  - {name: coil_fans, label: "coil: Fans", import: coil, where: email_click_ct > 2}
  - {name: acme_buyers, label: "Acme: buyers", import: acme, where: email_click_ct > 3}
  - {name: bolt_buyers, label: "bolt: buyers", import: bolt, where: email_click_ct > 3}
  - {name: coil_buyers, label: "coil: buyers", import: coil, where: email_click_ct > 3}
  - {name: some, import: bolt, where: "true"}
exports:
  - {name: acme_fans, label: "Acme: Fans", audience: acme_fans, list: Fans, exclude: [acme_buyers],
     suppression: {file: never.csv}}
  - {name: bolt_fans, label: "bolt: Fans", audience: bolt_fans, list: Fans, exclude: [bolt_buyers],
     suppression: {file: never.csv}}
  - {name: coil_fans, label: "coil: Fans", audience: coil_fans, list: Fans, exclude: [coil_buyers],
     suppression: {file: never.csv}}
  - {name: acme_buyers, label: "Acme: buyers", audience: acme_buyers, list: Buyers}
  - {name: bolt_buyers, label: "bolt: buyers", audience: bolt_buyers, list: Buyers}
  - {name: coil_buyers, label: "coil: buyers", audience: coil_buyers, list: Buyers}
  - {name: some, audience: some, list: Some, exclude: [bolt_fans]}
  - {name: more, audience: bolt_fans, list: More}
priorities:
  - [acme_buyers, acme_fans]
  - [bolt_buyers, bolt_fans]
  - [coil_buyers, coil_fans]
  - [some, more]
"""


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "icontact.yaml").write_text(text)
    return load_settings(environ, folder)


def described(definitions: dg.Definitions) -> dict[str, object]:
    """Everything that Dagster is given."""
    repository = definitions.get_repository_def()
    return {
        "assets": {spec.key: spec for spec in definitions.resolve_all_asset_specs()},
        "checks": definitions.resolve_asset_graph().asset_check_keys,
        "jobs": {job.name: job.description for job in repository.get_all_jobs()},
        "schedules": {each.name: (each.cron_schedule, each.description) for each in repository.schedule_defs},
        "sensors": {sensor.name for sensor in repository.sensor_defs},
    }


def test_accounts_are_the_imports_written_out(tmp_path: Path) -> None:
    environ = {"SECRET": "s3cret", "BOLT": "12"}
    short, long = load(tmp_path, TEMPLATE, **environ), load(tmp_path, WRITTEN_OUT, **environ)
    assert [import_.name for import_ in short.imports] == ["acme", "bolt", "coil"]
    assert short.import_named("bolt").ready() == ("2", "12")
    assert [other.name for other in short.export("coil_fans").before] == ["coil_buyers"]
    assert short.model_dump() == long.model_dump()
    assert described(build_defs(short)) == described(build_defs(long))


def test_an_account_of_which_a_variable_is_unset_is_named_when_it_is_needed(tmp_path: Path) -> None:
    settings = load(tmp_path, TEMPLATE, SECRET="s3cret")
    assert settings.import_named("acme").ready() == ("1", "11")
    with pytest.raises(SettingsError, match="The import bolt cannot ask iContact: BOLT is unset"):
        settings.import_named("bolt").ready()


def test_client_folders_of_one_account(tmp_path: Path) -> None:
    text = (
        "imports:\n  - {name: all, account: 7, accounts: [{name: a, client_folder: 1}, {name: b, client_folder: 2}]}\n"
    )
    assert [(i.account_id, i.client_folder_id) for i in load(tmp_path, text).imports] == [("7", "1"), ("7", "2")]


ALL = """imports:
  - name: all
    schema_drift: warn
    accounts:
      - {name: a, account: 1, client_folder: 11}
      - {name: b, account: 2, client_folder: 12}
"""
FANS = ALL + "audiences:\n  - {name: fans, import: all, where: 'true'}\n  - {name: of_a, import: a, where: 'true'}\n"
EXPORT = FANS + "exports:\n  - {name: e, audience: fans, list: L%s}\n"
LONG = "x" * 39


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("imports:\n  - name: all\n    accounts:\n", [":3: imports[0].accounts: found nothing. Write [...]"]),
        ("imports:\n  - {name: all, accounts: []}\n", [":2: imports[0].accounts: names no account", "- {name: ..."]),
        (ALL.replace("all\n", "all\n    label: All\n"), [":3: imports[0].label", "same for all", "each item"]),
        (ALL.replace("all\n", "all\n    client_folder: 3\n"), [":3: imports[0].client_folder", "same for all"]),
        (ALL.replace("account: 2, ", ""), [":6: imports[0].accounts[1].account: is missing", "discover"]),
        (ALL.replace("client_folder: 12", ""), [":6: imports[0].accounts[1].client_folder: is missing", "discover"]),
        (ALL.replace("name: b, ", ""), [":6: imports[0].accounts[1].name: is missing"]),
        (ALL.replace("name: b", "name: a"), [":6: imports[0].accounts[1].name: 'a' is defined twice"]),
        (ALL.replace("name: b", "name: all"), [":6: imports[0].accounts[1].name: 'all' is defined twice"]),
        (ALL.replace("name: b", "name: B"), [":6: imports[0].accounts[1].name", "lower-case letters"]),
        (ALL + "  - {name: b, account: 3, client_folder: 4}\n", [":7: imports[1].name: 'b' is defined twice"]),
        (ALL.replace("account: 2", "account: 2, colour: x"), [":6: imports[0].accounts[1].colour", "not supported"]),
        (ALL.replace("account: 2", "accounts: []"), [":6: imports[0].accounts[1].accounts", "not supported"]),
        (ALL.replace("account: 2", "account: 2, limits: {per_day: -1}"), [":6: imports[0].accounts[1].limits.per_day"]),
        (ALL.replace("warn", "stop"), [":3: imports[0].schema_drift", "'stop'"]),
        (
            ALL.replace("account: 2, client_folder: 12", "account: 1, client_folder: 11"),
            [":6: imports[0].accounts[1].client_folder: 'b' reads the same client folder as 'a'"],
        ),
        (ALL.replace("schema_drift: warn", "authorization: who"), [":3: imports[0].authorization: found 'who'"]),
        (
            ALL.replace("account: 2", "account: 2, authorization: who"),
            [":6: imports[0].accounts[1].authorization: found 'who'"],
        ),
        (ALL.replace("schema_drift: warn", "people: [all, c]"), [":3: imports[0].people[1]: found 'c'", "of: a, b."]),
        (ALL.replace("schema_drift: warn", "people: [b]"), [":3: imports[0].people: a itself is missing"]),
        (EXPORT % ", client_folder: 5, match: email", [":11: exports[0].client_folder", "for each account of all"]),
        (EXPORT % ", exclude: [of_a]", [":11: exports[0].exclude[0]: found 'of_a'", "of all: none is declared"]),
        (
            EXPORT % "" + "  - {name: f, audience: of_a, list: M}\npriorities:\n  - [e, f]\n",
            [":14: priorities[0][1]: 'f' is no export for each account of all", "`<account>_<name>`"],
        ),
        (
            FANS + "  - {name: b_fans, import: b, where: 'true'}\n",
            [":8: audiences[0].name: for the account b it is 'b_fans', which is defined too"],
        ),
        (FANS.replace("name: fans", f"name: {LONG}"), [":8: audiences[0].name: for the account a", "longer than 40"]),
        (
            EXPORT.replace("name: e", f"name: {LONG}") % "",
            [":11: exports[0].name: for the account a it is 'a_x", "longer than 40"],
        ),
    ],
)
def test_errors_name_the_place_and_the_remedy(tmp_path: Path, text: str, says: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    for words in says:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_many_names_an_error_says_the_first(tmp_path: Path) -> None:
    accounts = ", ".join(f"{{name: a{n}, account: {n}, client_folder: {n}}}" for n in range(1, 201))
    text = f"imports:\n  - {{name: all, accounts: [{accounts}]}}\n"
    with pytest.raises(SettingsError, match=r"Name one of: a1, a2, .*, a20 and 180 more\.") as caught:
        load(tmp_path, text + "audiences:\n  - {name: a, import: al, where: 'true'}\n")
    assert len(str(caught.value)) < 300
    with pytest.raises(SettingsError, match="a20 and 180 more"):
        load(tmp_path, text).import_named("al")

"""Every setting, and values that nobody should write for it: each combination loads or is named with the remedy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from icontact_assets.build import build_defs
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings, SettingsError

_FULL = {
    "authorizations": "name: who|label: W|description: D|app_id: app|username: ${USER}|password: ${PASSWORD}",
    "imports": "name: news|label: N|description: D|authorization: who|account: 1|client_folder: 2|keep_updated: true"
    "|filter_by_aid: aid|lists: [Readers]|people: [news]|schema_drift: warn|start_date: 2026-01-01|limits.per_second: 1|limits.per_minute: 2"
    "|limits.per_day: 3|refresh.reread_pages: 4|refresh.by_age: [{poll_days: 1, verify_days: 7}]",
    "audiences": "name: a|label: A|description: D|import: news|where: true",
    "exports": "name: e|label: E|description: D|audience: a|list: 5|mode: mirror|exclude: [b]|split.of: s|split.from: 0"
    "|split.to: 50|holdout: 10|remove.move_to: 6|adopt_existing: true|external_changes: report|consent: strict"
    "|suppression.file: never.csv|limits.adds: 1|limits.removes: 2|limits.removed_share: 0.1|limits.empty_audience: stop"
    "|limits.shrink: 0.1|limits.growth: 0.1|approve: 0123456789abcdef0123456789abcdef|match: id|authorization: who"
    "|account: 1|client_folder: 2|pace.adds_per_day: 5|pace.quiet_hours: '22:00-07:00'|pace.time_zone: UTC|recheck: 12",
    "schedule": "daily_at: '02:00'|time_zone: UTC|overdue_hours: 30",
    "reports": "time_zone: Europe/Berlin|win_back_days: 60|sunset_days: 120|minimum_mails: 3",
}
_ACCOUNTS = "name: some|account: 3|client_folder: 4|label: S|limits.per_day: 5"
VARIABLES = (
    *("ICONTACT_APP_ID", "ICONTACT_API_USERNAME", "ICONTACT_API_PASSWORD", "ICONTACT_ACCOUNT_ID"),
    *("ICONTACT_CLIENT_FOLDER_ID", "ICONTACT_BASE_URL", "ICONTACT_ASSETS_CONFIG", "ICONTACT_ASSETS_HOME"),
    *("ICONTACT_ASSETS_DUCKDB", "ICONTACT_START_DATE", "ICONTACT_REQUESTS_PER_SECOND", "ICONTACT_REQUESTS_PER_MINUTE"),
    *(
        "ICONTACT_REQUESTS_PER_DAY",
        "ICONTACT_PAGE_SIZE",
        "ICONTACT_WORKERS",
        "ICONTACT_ASSETS_GROUP",
        "ICONTACT_ASSETS_NOTICES",
        "ICONTACT_ASSETS_RECORD",
    ),
    *("ICONTACT_ASSETS_PUBLISH", "ICONTACT_ASSETS_LOCK_WAIT", "ICONTACT_ASSETS_MEMORY_LIMIT"),
    *("ICONTACT_ASSETS_WAREHOUSE", "ICONTACT_ASSETS_DATA", "ICONTACT_ASSETS_SNAPSHOT_DAYS"),
)
SETTINGS = (
    *((section, at) for section, text in _FULL.items() for at in (item.split(": ")[0] for item in text.split("|"))),
    *(("imports", f"accounts.{item.split(': ')[0]}") for item in _ACCOUNTS.split("|")),
    ("imports", "accounts"),
    *((section, "") for section in (*_FULL, "priorities", "owners")),
    ("", ""),
)
"""Section and key; without a key the section itself, without a section the whole file."""

ODD = (
    *("", "~", "null", "''", "' '", "08", "0123", "0x1F", "0o17", "1_000", "1e3", ".5", "12:30:00", "+7", "-1", "0"),
    *("yes", "no", "on", "off", "true", "~1", "1.5", ".inf", "inf", "-inf", "nan", ".nan", "1e-300", "1e300", "9" * 30),
    *("9" * 5000, "0000-00-00", "0001-01-01", "9999-12-31", "2026-02-30", "2026-13", "America", "/etc/passwd"),
    *("../x", "Europe/Berlin", "~/x", "~nobody-here/x", "x" * 5000, "a/" * 3000, "[]", "[a]", "[[a]]", "[null]", "{}"),
    *("{a: 1}", "{name: a}", "!!python/object:os.system x", "!!binary YQ==", "!!set {a}", "!foo x", "!!int 5"),
    *(
        "&x [*x]",
        "*nothing",
        "&x x",
        "[" * 1000,
        "{a: " * 500,
        "'\\u0000'",
        '"\\0"',
        '"\\ud83c"',
        '"\\UFFFFFFFF"',
        '"a\\nb"',
    ),
    *(
        "|\n      a\n      b",
        "@x",
        "`x`",
        "%x",
        "\tx",
        "\x00",
        "\x1b[2J",
        "ä\u202e😄",
        "x: y",
        "- x",
        "'",
        '"',
        "# x",
        "${X}",
    ),
    *(
        "a ${X}",
        "${USER}",
        "$X",
        "select",
        "memory",
        "warehouse_file",
        "main",
        "x'; DROP TABLE a; --",
        "<<",
        "---",
        "...",
        "? x",
    ),
)


def document(section: str, key: str, value: str) -> str:
    """A whole file in which one setting has this value, as it is written there."""
    if not section:
        return value
    parts = []
    for name, text in _FULL.items():
        if (name, "") == (section, key):
            parts.append(f"{name}: {value}\n")
            continue
        lines = _lines(text, key if name == section else None, value)
        if name in ("schedule", "reports"):
            parts.append(f"{name}:\n" + "\n".join(lines) + "\n")
        else:
            parts.append(f"{name}:\n  -\n" + "\n".join(lines) + "\n")
            if name == "audiences":
                parts.append("  - {name: b, import: news, where: 'true'}\n")
            if name == "imports":
                outer, _, inner = key.partition(".") if section == "imports" else ("", "", "")
                account = _lines(_ACCOUNTS, inner if outer == "accounts" else None, value)
                listed = "\n      -\n" + "\n".join(f"    {line}" for line in account)
                parts.append(f"  -\n    name: all\n    accounts: {value if key == 'accounts' else listed}\n")
    return "".join(parts) + (f"{section}: {value}\n" if section in ("priorities", "owners") else "")


def _lines(text: str, key: str | None, value: str) -> list[str]:
    """The lines of an item, with the value for the key."""
    lines: list[str] = []
    for item in text.split("|"):
        at, _, usual = item.partition(": ")
        chosen = value if at == key else usual
        outer, _, inner = at.partition(".")
        if inner and f"    {outer}:" not in lines:
            lines.append(f"    {outer}:")
        lines.append(f"      {inner}: {chosen}" if inner else f"    {at}: {chosen}")
    return lines


def load(folder: Path, text: str) -> Settings | str:
    """The settings of a file, or the error, which is one line that names the file. Anything else is raised."""
    path = folder / "icontact.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return tell({"USER": "me", "PASSWORD": "planted-secret"}, folder, str(path))


def tell(environment: dict[str, str], folder: Path, names: str) -> Settings | str:
    """The same for the settings of an environment."""
    try:
        return load_settings(environment, folder)
    except SettingsError as error:
        said = str(error)
        if names not in said or "\n" in said or "planted-secret" in said or len(said) > 2000:
            raise AssertionError(f"not one paragraph that names {names}: {said!r}") from error
        said.encode()
        return said


def load_variable(folder: Path, variable: str, value: str) -> Settings | str:
    """The same for one variable of the environment."""
    # What is wrong with the file is said of the file.
    return tell({variable: value}, folder, "" if variable == "ICONTACT_ASSETS_CONFIG" else variable)


def combinations() -> Iterator[tuple[str, str, str]]:
    """All of them: section, key, value."""
    return ((section, key, value) for section, key in SETTINGS for value in ODD)


def check_all() -> dict[str, int]:
    """Every combination, and the definitions of everything that loads."""
    counts = {"loaded": 0, "refused": 0}

    def count(found: Settings | str) -> None:
        if isinstance(found, Settings):
            build_defs(found)
        counts["loaded" if isinstance(found, Settings) else "refused"] += 1

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for section, key, value in combinations():
            count(load(folder, document(section, key, value)))
        (folder / "icontact.yaml").unlink()
        for variable in VARIABLES:
            for value in (value for value in ODD if "\0" not in value):
                count(load_variable(folder, variable, value))
    return counts

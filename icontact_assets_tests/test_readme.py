"""The README is a promise: its commands run, its tables are those of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from icontact_assets import demo
from icontact_assets.mapping.expressions import field_table
from icontact_assets.settings.load import load_settings
from icontact_assets.warehouse.tables import TABLES
from icontact_assets_tests.harness import Project, days_ago

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE))
    assert {"demo", "test", "ui"} <= targets
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_commands_run_in_order_against_a_sandbox(project: Project) -> None:
    project.sandbox.control("lists/add", name="Archive")
    environment = {**os.environ, **project.environment, "DAGSTER_HOME": ""}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def run(command: str) -> str:
        words = command.replace("2026-01-01", str(days_ago(7))).replace("2026-01-07", str(days_ago(1)))
        if "explain" in command:
            [(reader,)] = project.rows(
                "SELECT min(contact_id) FROM icontact.audience_members WHERE audience = 'active_readers'"
            )
            words = words.replace("1024", reader)
        done = subprocess.run(
            words, shell=True, cwd=project.home, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [line for line in lines if not line.startswith(("make ", "export "))]
    assert len(commands) == 11
    (project.home / "icontact.yaml").write_text("\n".join(blocks("yaml")))
    shown: dict[str, str] = {}
    said: dict[str, str] = {}
    for command in commands:
        word = command.split()[1]
        said[word] = run(command.replace("HASH", shown.get("hash", "")).replace("RUN_ID", shown.get("run", "")))
        for name, found in (("hash", r"[0-9a-f]{32}"), ("run", r"(?<=Run )[0-9a-f-]{36}")):
            if match := re.search(found, said[word]):
                shown[name] = match[0]
    assert " is in the audience active_readers since " in said["explain"]
    assert re.search(r": [1-9]\d* people added, 0 removed", said["apply"])
    assert re.search(r": 0 people added, [1-9]\d* removed", said["undo"])
    (query,) = blocks("sql")
    query = query.replace("2026-11-01", str(datetime.now(UTC).date()))
    assert len(project.rows(query)) > 0
    (code,) = blocks("python")
    finished = subprocess.run(
        [sys.executable, "-c", code + "\nassert len(profiles) > 0"], cwd=project.home, env=environment, check=False
    )
    assert finished.returncode == 0


def test_every_variable_and_table_and_field_is_named() -> None:
    for name in (table.name for table in TABLES):
        if name not in ("missed", "touched_contacts", "links", "mapping_state"):
            assert f"`{name}`" in README
    for table in ("icontact_users", "icontact_activity"):
        for field in field_table(table):
            assert f"| `{field.name}` | {field.sql_type} | {field.description} |" in README
    source = (ROOT / "icontact_assets" / "settings" / "load.py").read_text()
    for variable in set(re.findall(r'"(ICONTACT_\w+)"', source)) - {
        "ICONTACT_REQUESTS_PER_MINUTE",
        "ICONTACT_REQUESTS_PER_DAY",
    }:
        assert f"`{variable}`" in README


def test_the_example_configuration_loads(tmp_path: Path) -> None:
    (tmp_path / "icontact.yaml").write_text((ROOT / "icontact.example.yaml").read_text())
    settings = load_settings({}, tmp_path)
    assert [export.name for export in settings.exports] == [
        "active_readers",
        "active_readers_only",
        "active_readers_elsewhere",
        "customers",
    ]


def test_the_demo_runs_on_the_projects_dagster_settings() -> None:
    assert demo.DAGSTER.read_text() == (ROOT / "dagster.yaml").read_text()


def test_the_demo_ends_with_members_added(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "icontact_assets.cli", "demo", "--home", str(tmp_path / "demo")],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = dict(re.findall(r"│ (.+?) +│ +([\d,.]+) │", done.stdout))
    before, after = (
        int(numbers[f"members of the list {when} the export"].replace(",", "")) for when in ("before", "after")
    )
    assert after > before
    assert int(numbers["rows in icontact.raw_activity"].replace(",", "")) > 1000

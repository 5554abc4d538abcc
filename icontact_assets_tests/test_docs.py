"""The docs are a promise: their commands run, their tables are those of the code, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.generate import errors
from docs.generate.__main__ import generated
from icontact_assets import demo
from icontact_assets.init import DAGSTER
from icontact_assets.reports.tables import REPORT_TABLES
from icontact_assets.sandbox.service import variables
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import EveryImport, Sharing
from icontact_assets.settings.requests import RequestLimits
from icontact_assets.warehouse.tables import TABLES, VIEWS
from icontact_assets_tests.harness import Project, days_ago, execute
from icontact_assets_tests.leaks import assert_no_address_in, assert_not_in, files_below
from icontact_assets_tests.test_dg import ours

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLE = ROOT / "icontact_assets" / "icontact.example.yaml"
# In the order of reading: what one page needs may be done on a page before. docs/sandbox.md has a test of its own.
GUIDE = [
    ROOT / "README.md",
    *(DOCS / f"{page}.md" for page in ("settings", "tables", "completeness", "retries", "audiences", "exports", "cli")),
]
PAGES = [*GUIDE, ROOT / "CONTRIBUTING.md", *sorted(set(DOCS.glob("*.md")) - set(GUIDE))]


def blocks(language: str, pages: list[Path]) -> list[str]:
    return [block for page in pages for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]


def commands(pages: list[Path]) -> list[str]:
    """Every command once, without its comment."""
    lines = [line.partition(" #")[0].strip() for block in blocks("sh", pages) for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return list(dict.fromkeys(part for part in parts if part and not part.startswith("#")))


def keys(value: Any) -> Iterator[str]:
    """All keys of a document, at every depth."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from keys(below)
    if isinstance(value, list):
        for item in value:
            yield from keys(item)


def test_make_targets_exist() -> None:
    targets = {target for page in PAGES for target in re.findall(r"(?:^|`)make (\w+)", page.read_text(), re.MULTILINE)}
    assert {"demo", "test", "ui", "lint", "mutants"} <= targets
    subprocess.run(["make", "-n", *sorted(targets)], cwd=ROOT, check=True, capture_output=True)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_commands_of_the_guide_run_in_order(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody who begins: in an empty folder, with what `init` asks for."""
    project.sandbox.control("reset", contacts=60, messages=4, days=5)
    project.sandbox.control("lists/add", name="Archive")
    folder = project.home / "icontact"
    project.environment["ICONTACT_ASSETS_HOME"] = str(folder / ".icontact")
    for name, value in project.environment.items():
        if name not in ("ICONTACT_ACCOUNT_ID", "ICONTACT_CLIENT_FOLDER_ID", "ICONTACT_ASSETS_HOME"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.home)
    filled_in = {"2026-01-01": str(days_ago(1)), "2026-01-07": str(days_ago(1)), "~/icontact": str(folder)}
    said: dict[str, str] = {}
    for command in commands(GUIDE):
        # Another test installs it, and the UI runs until somebody ends it.
        if command.startswith(("make ", "python3 -m venv ", ". ", "pip install ", "dg dev ")):
            continue
        if "explain" in command:
            query = "SELECT min(contact_id) FROM icontact.audience_members WHERE audience = 'active_readers'"
            filled_in["1024"] = project.rows(query)[0][0]
        for example, value in filled_in.items():
            command = command.replace(example, value)
        word = command.split()[1]
        if command.startswith("cd "):
            monkeypatch.chdir(word)
            continue
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            said[word] = execute(command, typed=f"{project.environment['ICONTACT_CLIENT_FOLDER_ID']}\n")
        if word == "launch":
            assert ours(warned) == []
            assert "RUN_SUCCESS" in said[word]
            assert "arning" not in said[word]
        if word == "init":
            with (folder / "icontact.yaml").open("a") as file:
                file.write(blocks("yaml", [DOCS / "exports.md"])[0])
        for name, found in (("HASH", r"[0-9a-f]{32}"), ("RUN_ID", r"(?<=Run )[0-9a-f-]{36}")):
            if match := re.search(found, said[word]):
                filled_in[name] = match[0]
    assert set(said) >= {"init", "launch", "discover", "doctor", "forecast", "explain", "plan", "apply", "undo"}
    assert set(said) >= {"status", "coverage", "query", "report"}
    assert " is in the audience active_readers since " in said["explain"]
    assert re.search(r": [1-9]\d* people added, 0 removed", said["apply"])
    assert re.search(r": 0 people added, [1-9]\d* removed", said["undo"])
    for query in blocks("sql", GUIDE):
        assert len(project.rows(query.replace("2026-11-01", str(datetime.now(UTC).date())))) > 0
    (code,) = blocks("python", GUIDE)
    found_in_code: dict[str, Any] = {}
    exec(code, found_in_code)
    assert len(found_in_code["profiles"]) > 0


def test_commands_for_developers_exist() -> None:
    known = {script.name for script in entry_points(group="console_scripts")}
    for command in commands([ROOT / "CONTRIBUTING.md", *sorted(set(DOCS.glob("*.md")) - set(GUIDE))]):
        words = command.split()
        if words[0] in ("make", "curl", "."):
            continue
        if words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), command
        else:
            assert words[0] in known, command
        for path in (word.partition("::")[0] for word in words if word.endswith(".py") or "::" in word):
            assert (ROOT / path).is_file(), command


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_examples_of_settings_load(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks("yaml", [page])):
        (tmp_path / f"{number}.yaml").write_text(block)
        load_settings({"ICONTACT_ASSETS_CONFIG": f"{number}.yaml"}, tmp_path)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, heading = link.partition("#")
            if path.startswith("http"):
                continue
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {link}"
            if heading:
                titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert heading in anchors, f"{page.name}: {link}"


def test_every_page_is_in_the_site() -> None:
    assert set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text())) == {
        page.name for page in DOCS.glob("*.md")
    }


def test_everything_that_the_map_names_exists() -> None:
    """Files and folders, and the functions, classes and constants in them, as in `build.py: build_defs`."""
    page = (DOCS / "architecture.md").read_text()
    named = set(re.findall(r"`([\w./]+/|[\w./]+\.(?:py|ya?ml|md))(?:: ([\w.]+))?`", page))
    assert len(named) > 60
    for path, name in named - {("icontact.yaml", "")}:
        found = [root / path for root in (ROOT / "icontact_assets", ROOT) if (root / path).exists()]
        assert found, path
        for part in name.split(".") if name else ():
            defined = rf"^\s*(?:(?:def|class) {part}\b|{part}(?:: [^=\n]+)? = )"
            assert re.search(defined, found[0].read_text(), re.MULTILINE), f"{path}: {name}"


def test_the_map_shows_the_arrows_that_lint_checks() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert "```\n" + "\n".join(layers) + "\n```" in (DOCS / "architecture.md").read_text()


def test_what_is_generated_is_current() -> None:
    for path, text in generated().items():
        assert path.read_text() == text, f"{path.name} is out of date: run `python -m docs.generate`"


def test_every_error_is_in_the_docs() -> None:
    assert errors.unknown() == []


def test_every_table_and_variable_and_setting_is_named() -> None:
    tables, settings = (DOCS / "tables.md").read_text(), (DOCS / "settings.md").read_text()
    inner = ("missed", "touched_contacts", "changed_contacts", "hashed_links", "mapping_state")
    for name in (table.name for table in (*TABLES, *REPORT_TABLES, *VIEWS)):
        assert name in inner or f"`{name}`" in tables, name
    source = (ROOT / "icontact_assets" / "settings" / "load.py").read_text()
    variables = set(re.findall(r"ICONTACT_[A-Z_]*[A-Z]\b", source))
    prefixed = {"ICONTACT_": EveryImport, "ICONTACT_REQUESTS_": RequestLimits, "ICONTACT_ASSETS_": Sharing}
    for prefix, model in prefixed.items():
        variables |= {prefix + field.upper() for field in model.model_fields}
    for variable in variables:
        assert f"`{variable}`" in settings, variable
    for key in set(keys(yaml.safe_load(EXAMPLE.read_text()))):
        assert re.search(rf"\b{key}\b", settings), key


def test_the_example_configuration_loads(tmp_path: Path) -> None:
    (tmp_path / "icontact.yaml").write_text(EXAMPLE.read_text())
    settings = load_settings({}, tmp_path)
    assert [export.name for export in settings.exports] == [
        "active_readers",
        "active_readers_only",
        "active_readers_elsewhere",
        "customers",
    ]


def test_the_demo_runs_on_the_projects_dagster_settings() -> None:
    assert DAGSTER.read_text() == (ROOT / "dagster.yaml").read_text()


def test_services_run_on_the_projects_dagster_settings() -> None:
    ours, theirs = (
        yaml.safe_load(path.read_text()) for path in (ROOT / "dagster.yaml", ROOT / "deploy" / "dagster.yaml")
    )
    assert {key: theirs.get(key) for key in ours} == ours
    added = {"storage", "local_artifact_storage", "compute_logs"}
    assert set(theirs) - set(ours) == added
    workers = yaml.safe_load((ROOT / "deploy" / "compose" / "dagster.yaml").read_text())
    # In PostgreSQL, where that class has nothing to do.
    assert {key: workers.get(key) for key in ours if key != "instance_class"} == {
        key: value for key, value in ours.items() if key != "instance_class"
    }
    assert set(workers) - set(ours) == added | {"concurrency", "run_coordinator", "run_launcher"}


def test_the_demo_ends_with_members_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    # The same demo on a smaller world and one day.
    monkeypatch.setattr(demo, "DAYS", 1)
    monkeypatch.setattr(demo.run, "__kwdefaults__", {"contacts": 100, "messages": 6})
    shown = execute(f"icontact-assets demo --home {tmp_path / 'demo'}")
    numbers = dict(re.findall(r"│ (.+?) +│ +([\d,.]+) │", shown))
    before, after = (
        int(numbers[f"members of the list {when} the export"].replace(",", "")) for when in ("before", "after")
    )
    assert after > before
    assert int(numbers["rows in icontact.raw_activity"].replace(",", "")) > 100
    left = files_below(tmp_path / "demo" / "dagster")
    assert any(b"PIPELINE_SUCCESS" in part for part in left)
    assert_no_address_in([shown.encode(), *left])
    names = ("ICONTACT_API_PASSWORD", "ICONTACT_APP_ID", "ICONTACT_API_USERNAME")
    assert_not_in([shown, *left], [variables("")[name] for name in names])

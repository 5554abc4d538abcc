"""Who may read what is kept: the owner, or a group, in new and in old installations, whatever the umask."""

from __future__ import annotations

import grp
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from icontact_assets.ingest.staging import Staging
from icontact_assets.ingest.window import Window
from icontact_assets.private import OWNER, Readers, created_for_the_owner
from icontact_assets.resources import budget_of, open_warehouse, storage_of
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import SettingsError
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness import Project, days_ago


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("umask", [0o000], indirect=True, ids=oct)
@pytest.mark.usefixtures("umask")
def test_a_run_keeps_everything_for_its_owner(project: Project) -> None:
    project.environment |= {"ICONTACT_REQUESTS_PER_DAY": "1000", "ICONTACT_ASSETS_PUBLISH": "true"}
    settings = project.settings
    assert project.run('key:"icontact/raw_lists"', Window(days_ago(1), days_ago(1))).success
    home = settings.home
    found = modes(home)
    kept = {"warehouse.duckdb", "warehouse.duckdb.lock", "warehouse.duckdb.holder", "warehouse.duckdb.icontact.staging"}
    assert kept <= found.keys()
    (budget,) = (home / "budget").glob("*.sqlite")
    folders, copy = {".", "budget", "published", "runs"}, "published/warehouse.duckdb"
    assert {name: oct(mode) for name, mode in found.items()} == {
        name: "0o700" if name in folders else "0o400" if name == copy else "0o600" for name in found
    }

    # An installation of an earlier version, killed in the middle: it kept no locks of runs.
    shutil.rmtree(home / "runs")
    for path in (budget, settings.duckdb_path.with_name("warehouse.duckdb.icontact.staging")):
        path.with_name(path.name + "-journal").touch()
    shutil.rmtree(home / "published")
    for name in modes(home):
        (home / name).chmod(0o755 if name in folders else 0o644)
    (import_,) = settings.imports
    budget_of(settings, import_)
    open_warehouse(settings, "icontact").prepare()
    storage = storage_of(settings)
    with (
        storage.lock("icontact.staging", "a read", wait_seconds=0, waiting=print),
        Staging(storage.on_this_machine("icontact.staging")),
    ):
        assert {name: mode & 0o077 for name, mode in modes(home).items() if mode & 0o077} == {}


def test_a_home_of_an_earlier_version_is_closed_by_whatever_opens_it(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    (import_,) = settings.imports
    for opens in (open_warehouse, lambda settings: budget_of(settings, import_)):
        settings.home.mkdir(exist_ok=True)
        settings.home.chmod(0o755)
        opens(settings)
        assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700


def test_a_damaged_budget_that_is_put_aside_is_the_owners_too(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    (import_,) = settings.imports
    budget_of(settings, import_)
    (path,) = (settings.home / "budget").glob("*.sqlite")
    path.write_bytes(b"damaged")
    path.chmod(0o644)
    budget_of(settings, import_)
    found = modes(settings.home / "budget")
    assert any("damaged" in name for name in found)
    assert {mode & 0o077 for mode in found.values()} == {0}


def test_a_database_elsewhere_leaves_its_folder_as_it_is(project: Project) -> None:
    folder = project.home / "data"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "other.csv").touch(0o644)
    project.environment["ICONTACT_ASSETS_DUCKDB"] = str(folder / "own.duckdb")
    open_warehouse(project.settings, "icontact").prepare()
    with Staging(folder / "own.duckdb.icontact.staging"):
        found = modes(folder)
    assert (found.pop("."), found.pop("other.csv")) == (0o755, 0o644)
    assert set(found.values()) == {0o600}


def test_what_duckdb_makes_in_between_is_the_owners_too(tmp_path: Path, umask: int) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "own.duckdb"
    with Warehouse(DatabaseFile(path)).write("test") as connection:
        connection.execute("CREATE TABLE t AS SELECT range::VARCHAR AS person FROM range(1000)")
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        assert oct(stat.S_IMODE((tmp_path / "own.duckdb.wal").stat().st_mode)) == "0o600"
        assert {mode & 0o077 for name, mode in modes(tmp_path).items() if name != "."} == {0}
    assert os.umask(umask) == umask


def test_a_group_reads_the_database_and_nothing_else(
    tmp_path: Path, a_group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    settings = load_settings({"ICONTACT_ASSETS_GROUP": a_group}, tmp_path)
    open_warehouse(settings, "icontact").prepare()
    gid = grp.getgrnam(a_group).gr_gid
    assert settings.readers.gid == gid
    home, path = settings.home, settings.duckdb_path
    assert [(oct(stat.S_IMODE(item.stat().st_mode)), item.stat().st_gid) for item in (home, path)] == [
        ("0o750", gid),
        ("0o640", gid),
    ]
    # A member who reads takes the lock, and so opens its file for writing.
    for end in (".lock", ".holder"):
        found = path.with_name(path.name + end).stat()
        assert (oct(stat.S_IMODE(found.st_mode)), found.st_gid) == ("0o660", gid)
    Warehouse(DatabaseFile(path), "icontact").prepare()
    assert oct(stat.S_IMODE(path.stat().st_mode)) == "0o600"


@pytest.fixture
def a_group() -> str:
    """A group of this user that is not the first one, if there is one."""
    own = [gid for gid in os.getgroups() if gid != os.getegid()] or ([1] if os.geteuid() == 0 else [os.getegid()])
    return grp.getgrgid(own[0]).gr_name


@pytest.mark.parametrize("name", ["kX7-no-such-group", "a\nb", "1", "\udcff", "a\0b"])
def test_a_group_that_is_none_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"ICONTACT_ASSETS_GROUP is .* no group of this machine"):
        load_settings({"ICONTACT_ASSETS_GROUP": name}, tmp_path)


def test_a_group_of_others_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(os, "getgroups", list)
    monkeypatch.setattr(os, "getegid", lambda: 12345)
    with pytest.raises(SettingsError, match="not a member of"):
        load_settings({"ICONTACT_ASSETS_GROUP": grp.getgrgid(0).gr_name}, tmp_path)


def test_files_of_others_and_folders_of_everybody_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign, shared, working = tmp_path / "foreign.duckdb", tmp_path / "shared", tmp_path / "working"
    with duckdb.connect(foreign):
        pass
    foreign.chmod(0o664)
    shared.mkdir()
    shared.chmod(0o1777)
    (working / "below").mkdir(parents=True)
    for folder in (working, working / "below"):
        folder.chmod(0o755)
    monkeypatch.chdir(working / "below")
    OWNER.restrict(shared, working, working / "below", tmp_path / "missing")
    assert oct(shared.stat().st_mode)[-4:] == "1777"
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (working, working / "below")} == {0o755}
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    Warehouse(DatabaseFile(foreign), "icontact").prepare()
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o664


def test_a_working_folder_that_is_gone_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    OWNER.folder(tmp_path / "home")
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("refusal", [PermissionError(1, "no"), OSError(30, "read-only"), OSError(95, "no modes")])
def test_a_file_system_without_modes_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: OSError
) -> None:
    path = tmp_path / "file"
    path.touch(0o644)

    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(Path, "chmod", refuse)
    Readers().create(path)


def test_the_umask_is_put_back_by_the_last_thread(umask: int) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with created_for_the_owner():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    with created_for_the_owner():
        thread.start()
        inside.wait()
    held = os.umask(0o077)
    leave.set()
    thread.join()
    assert (held, os.umask(umask)) == (0o077, umask)

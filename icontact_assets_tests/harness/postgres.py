"""A PostgreSQL server of the tests' own: started from Debian's programs, with nothing of it left when they end."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADMIN = "postgres"
USER = "lake"
"""The role that tests act with. It may do nothing but use its own databases."""

# Nothing of it is to outlive a crash.
_OPTIONS = (
    *("fsync=off", "full_page_writes=off", "max_connections=200", "shared_buffers=32MB"),
    *("autovacuum=off", "listen_addresses=127.0.0.1"),
)


@dataclass
class Postgres:
    """A server that runs. Roles need no password."""

    port: int
    folder: Path
    programs: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def conninfo(self, database: str, user: str = USER) -> str:
        """How to connect to a database, as libpq reads it."""
        return f"host=127.0.0.1 port={self.port} user={user} dbname={database}"

    def execute(self, sql: str, database: str = "postgres", user: str = ADMIN) -> list[tuple[Any, ...]]:
        """The rows of a statement, each its own transaction."""
        # Tests that need no server are collected without it.
        import psycopg

        with psycopg.connect(self.conninfo(database, user), autocommit=True) as session:
            cursor = session.execute(sql)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def database(self, template: str = "template1") -> str:
        """The name of a new database, which holds what `template` holds."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" OWNER {USER} TEMPLATE "{template}"')
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def disconnect(self, database: str) -> int:
        """End all sessions of a database. How many there were."""
        sql = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        return len(self.execute(sql))

    def stop(self) -> None:
        """Stop the server, whoever is connected."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """Start it, and wait until it answers. What was committed is there."""
        options = " ".join(
            f"-c {option}" for option in (f"port={self.port}", f"unix_socket_directories={self.folder}", *_OPTIONS)
        )
        self._control("start", "-t", "60", "-o", options)

    def _control(self, action: str, *arguments: str) -> None:
        log = self.folder / "log"
        _run(self.programs / "pg_ctl", action, "-D", str(self.folder / "data"), "-w", "-l", str(log), *arguments)


@contextmanager
def started() -> Iterator[Postgres]:
    """A new server, with the role `USER`. It ends with the block."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    assert found, "tests of the lake need PostgreSQL: apt-get install postgresql"
    # Not below pytest's folder: the server runs as another user where this one is root.
    folder = Path(tempfile.mkdtemp(prefix="icontact-postgres-"))
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    server = Postgres(_free_port(), folder, found[-1].parent)
    try:
        _run(found[-1], "-D", str(folder / "data"), "-U", ADMIN, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        server.start()
        try:
            server.execute(f"CREATE ROLE {USER} LOGIN")
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str | Path) -> None:
    # Whoever starts the server must not be root, and must not be stopped with the tests by ctrl-C before they are.
    root = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **root,
    )
    assert done.returncode == 0, done.stderr.decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

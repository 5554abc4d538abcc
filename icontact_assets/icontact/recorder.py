"""Keeps each exchange with iContact in a folder that can be sent: no credentials, false names, addresses and ids."""

from __future__ import annotations

import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from icontact_assets.icontact.disguise import Disguise, numbers_in
from icontact_assets.icontact.errors import RecordingUnusable
from icontact_assets.icontact.vocabulary import MEDIA_TYPES
from icontact_assets.private import OWNER

FORMAT = 1
"""The version of the files, in the first line of each."""

_KEY_BYTES = 32
_CHARSET = re.compile(r"charset=[\"']?(utf-?8|utf-16|utf-32|us-ascii|iso-8859-\d{1,2}|windows-125\d)", re.IGNORECASE)
_LIMIT = re.compile(r"(?:x-)?rate-?limit-(?:limit|remaining|reset)")
_SMALL = re.compile(r"[0-9]{1,7}")
_PACKINGS = frozenset({"gzip", "x-gzip", "deflate", "identity"})

_log = logging.getLogger(__name__)


class Named(NamedTuple):
    """A value of iContact's that the settings name."""

    key: str
    """Its place in the settings, as `exports[0].list`."""
    field: str
    """The field of iContact's that has such values."""
    value: str


@dataclass
class Record:
    """One request as it is sent, and what comes back."""

    method: str
    path: str
    """What follows the base address, without the query."""
    params: Mapping[str, str | int]
    body: bytes | None
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was sent (aware UTC)."""
    status: int | None = None
    """None: there was no answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: bytearray = field(default_factory=bytearray)
    """The unpacked body, or what came of it."""
    failure: str | None = None
    """What kept the answer from being whole, as the name of an exception. None: it was."""


class Recorder:
    """Appends exchanges to a file of its own in `folder`. Safe for threads.

    `key_file` holds what the false values follow from. It is made where it is missing, and must not be sent. `named`:
    whoever replays the recording must name the false forms of these. Raises RecordingUnusable.
    """

    def __init__(self, folder: Path, key_file: Path, named: Iterable[Named] = ()) -> None:
        self._lock = threading.Lock()
        self._number = 0
        try:
            self._disguise = Disguise(_key(key_file))
            OWNER.folder(folder)
            path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            OWNER.create(path)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
            false = {each.key: _whole(self._disguise.value(each.field, each.value)) for each in named}
            self._write({"format": FORMAT, "package": version("icontact_assets"), "named": false})
        except (OSError, ValueError) as error:
            raise RecordingUnusable(
                f"ICONTACT_ASSETS_RECORD names {folder}, where no recording can be written: {error}. Name another "
                "folder, or unset the variable. Nothing was sent."
            ) from error
        _log.warning("Every exchange with iContact is recorded in %s (ICONTACT_ASSETS_RECORD).", folder)

    def keep(self, record: Record) -> None:
        """Append an exchange, disguised. A failure to write ends the recording, not the run."""
        line = self._disguised(record)
        with self._lock:
            if self._file < 0:
                return
            self._number += 1
            try:
                self._write({"n": self._number, **line})
            except OSError as error:
                _log.error("The recording ends here: %s. The run goes on.", error)
                os.close(self._file)
                self._file = -1

    def _write(self, line: Mapping[str, Any]) -> None:
        # One line, one write: a process that is killed leaves at most one that is cut.
        rest = memoryview(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def _disguised(self, record: Record) -> dict[str, Any]:
        false = self._disguise
        params = {name: str(value) for name, value in record.params.items()}
        sent = record.body or b""
        ids = numbers_in([record.path, *params.values(), sent.decode("utf-8", "replace")])
        return {
            "at": record.began.isoformat(),
            "seconds": round((datetime.now(UTC) - record.began).total_seconds(), 3),
            "method": record.method,
            "path": _whole(false.path(record.path)),
            "query": [[_whole(false.name(name)), _whole(false.term(name, value))] for name, value in params.items()],
            "body": None if record.body is None else false.body(sent).decode("utf-8", "replace"),
            "status": record.status,
            "headers": {name: _whole(value) for name, value in self._headers(record.headers)},
            **_written(false.body(bytes(record.answer), ids)),
            "failure": record.failure,
        }

    def _headers(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """The headers that decide how an answer is read, and those that speak of limits."""
        found = []
        for name, value in headers.items():
            lower = name.lower()
            if lower == "content-type":
                found.append((lower, self._content_type(value)))
            elif lower in ("date", "retry-after"):
                found.append((lower, value if _SMALL.fullmatch(value) else _date(value) or self._disguise.text(value)))
            elif lower == "content-encoding":
                known = value.strip().lower() in _PACKINGS
                found.append((lower, value if known else self._disguise.text(value)))
            elif lower == "location":
                found.append((lower, self._disguise.text(value)))
            elif _LIMIT.fullmatch(lower) and (_SMALL.fullmatch(value) or _is_near(value)):
                found.append((lower, value))
        return found

    def _content_type(self, value: str) -> str:
        kind, _, rest = value.partition(";")
        if kind.strip().lower() not in MEDIA_TYPES:
            return self._disguise.text(value)
        charset = _CHARSET.search(rest)
        return f"{kind.strip()}; charset={charset[1]}" if charset else kind.strip()


def recorder_in(folder: Path, key_file: Path, named: Iterable[Named] = ()) -> Recorder:
    """The recorder of this process for a folder. Raises RecordingUnusable."""
    return _recorder(folder, key_file, tuple(named), os.getpid())


@lru_cache
def _recorder(folder: Path, key_file: Path, named: tuple[Named, ...], _pid: int) -> Recorder:
    return Recorder(folder, key_file, named)


def _key(path: Path) -> bytes:
    """The key in a file, which is made whole or not at all. Raises OSError."""
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        OWNER.create(fresh)
        fresh.write_bytes(secrets.token_bytes(_KEY_BYTES))
        try:
            # Another process may have made it meanwhile: the first one holds.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()


def _is_near(value: str) -> bool:
    """Whether a value is an instant in Unix seconds, at most a day from now."""
    return value.isascii() and value.isdigit() and abs(float(value) - time.time()) < 86_400


def _date(value: str) -> str | None:
    try:
        return format_datetime(parsedate_to_datetime(value).astimezone(UTC), usegmt=True)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _whole(text: str) -> str:
    """A text that can be written, with a question mark for each half of a character."""
    return text.encode("utf-8", "replace").decode()


def _written(body: bytes) -> dict[str, str]:
    """A body as text. What is not UTF-8 has a character for each byte."""
    try:
        return {"answer": body.decode()}
    except UnicodeDecodeError:
        return {"answer_bytes": body.decode("latin-1")}

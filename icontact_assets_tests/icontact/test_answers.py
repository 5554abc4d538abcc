"""Answers of every odd kind: the JSON in them, or a typed error in bounded time and memory that says what was seen."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.decoding import DEEPEST, decode
from icontact_assets.icontact.errors import (
    AskedToWait,
    IContactError,
    PageFailed,
    Rejected,
    Transient,
    UnknownOutcome,
)
from icontact_assets.icontact.folder import Account, Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.plain import mask
from icontact_assets_tests.hostile import Answer, Hostile, drip, endless, http
from icontact_assets_tests.odd import BODIES, HEADERS, OPERATIONS, STATUSES, Says, play

FINE = b'{"time": "2026-01-01T00:00:00-05:00"}'
GRIN = "\N{GRINNING FACE}"


def session(server: Hostile, tmp_path: Path, *, tries: int = 1, read_timeout: float = 0.3) -> Session:
    return Session(
        server.url,
        Credentials("app", "user", "pass"),
        Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0),
        timeouts=(2, read_timeout),
        tries=tries,
        first_wait=0.01,
        answer_mb=1,
    )


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http(b"\xef\xbb\xbf" + FINE), id="BOM"),
        pytest.param(http(FINE.decode().encode("utf-16")), id="UTF-16"),
        pytest.param(http(FINE.decode().encode("utf-16-le")), id="UTF-16_without_BOM"),
        pytest.param(http(FINE.decode().encode("utf-32")), id="UTF-32"),
        pytest.param(http(FINE, "Content-Type: application/json; charset=\xff"), id="unknown_charset"),
        pytest.param(http(FINE, "Content-Type: text/html; charset=utf-16"), id="another_charset"),
        pytest.param(http(gzip.compress(FINE), "Content-Encoding: gzip"), id="gzip"),
        pytest.param(http(gzip.compress(FINE[:9]) + gzip.compress(FINE[9:]), "Content-Encoding: GZip"), id="two_gzips"),
        pytest.param(http(zlib.compress(FINE), "Content-Encoding: deflate"), id="deflate"),
        pytest.param(http(FINE, length=False), id="until_it_closes"),
        pytest.param(http(FINE, status="200 "), id="status_without_a_word"),
        pytest.param(http(FINE, *(f"X-{n}: {n}" for n in range(90))), id="many_headers"),
        pytest.param(http(FINE, "Set-Cookie: a=b; expires=never; domain=.", "Set-Cookie: ="), id="odd_cookies"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 200 + http(FINE), id="100-continue"),
    ],
)
def test_is_read(tmp_path: Path, answer: bytes) -> None:
    with Hostile(answer) as server:
        assert session(server, tmp_path).get("/time").body == json.loads(FINE)


BOMB = gzip.compress(b" " * (20 << 20), 9)
TOO_LONG = "the answer was not at its end in time"
TOO_LARGE = r"more than 1 MB \(ICONTACT_ANSWER_MB"


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        pytest.param(http(BOMB, "Content-Encoding: gzip"), PageFailed, TOO_LARGE, id="gzip_bomb"),
        pytest.param(http(BOMB, "Content-Encoding: gzip", status="302 Found"), PageFailed, TOO_LARGE, id="302_bomb"),
        pytest.param(endless(http(length=False), b" " * 65536), PageFailed, TOO_LARGE, id="endless_body"),
        pytest.param(
            endless(http(b"", "Transfer-Encoding: chunked", length=False) + b"1;", b"x" * 65536),
            Transient,
            "dropped mid-response",
            id="endless_chunk_header",
        ),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), Transient, "dropped mid-response", id="endless_headers"),
        pytest.param(endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536), Transient, "LineTooLong", id="endless_header"),
        pytest.param(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), Transient, TOO_LONG, id="100-continue_for_ever"),
        pytest.param(drip(http(length=False)), Transient, TOO_LONG, id="body_drips"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"), Transient, TOO_LONG, id="header_drips"),
        pytest.param(drip(b"HTTP/1.1 2", b"0"), Transient, TOO_LONG, id="status_line_drips"),
        pytest.param(http(FINE, "Content-Encoding: gzip"), Transient, "not valid gzip", id="no_gzip"),
        pytest.param(http(gzip.compress(FINE)[:20], "Content-Encoding: gzip"), Transient, "gzip .* truncated", id="cut_gzip"),
        pytest.param(http(FINE, "Content-Encoding: br"), Transient, "compressed as br", id="brotli"),
        pytest.param(http(FINE, "Content-Encoding: gzip, gzip"), Transient, "compressed as gzip", id="gzip_twice"),
        pytest.param(http(), Transient, "not JSON: it is empty", id="empty"),
        pytest.param(http(status="204 No Content"), Transient, "not JSON: it is empty", id="204"),
        pytest.param(http(FINE + b"}"), Transient, "not JSON but 38 bytes of no declared type", id="trailing_garbage"),
        pytest.param(http(b"<html>", "Content-Type: text/html;x"), Transient, "6 bytes of text/html", id="HTML"),
        pytest.param(http(b"\x00\xff" * 50), Transient, "not JSON", id="binary"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2p1\r\n", Transient, "BadStatusLine", id="SSH"),
        pytest.param(FINE, Transient, "BadStatusLine", id="HTTP_0.9"),
        pytest.param(b"", Transient, "RemoteDisconnected", id="nothing"),
        pytest.param(b"HTTP/1.1 99999 OK\r\n\r\n", Transient, "BadStatusLine", id="status_99999"),
        pytest.param(http(FINE[:9], "Content-Length: 99", length=False), Transient, "IncompleteRead", id="body_is_cut"),
        pytest.param(
            http(b"5\r\n{\"a\"", "Transfer-Encoding: chunked", length=False), Transient, "dropped mid-response", id="chunk_is_cut"
        ),
        pytest.param(
            http(b"zz\r\n", "Transfer-Encoding: chunked", length=False), Transient, "dropped mid-response", id="odd_chunk"
        ),
        pytest.param(http(b"", "Location: http://[", status="302 Found"), Rejected, "redirect to nowhere", id="redirect"),
        pytest.param(
            http(b"", "Location: /" + "x" * 9000, status="307 Go"), Rejected, "redirect to nowhere", id="to_itself"
        ),
        pytest.param(
            http(json.dumps({"errors": ["x" * 100_000]}).encode(), status="400 No"), Rejected, "x{500} The", id="long_error"
        ),
        pytest.param(
            http(json.dumps({"errors": {"a": [{"b": "x"}]}}).encode()), PageFailed, "200 with errors", id="nested_errors"
        ),
    ],
)  # fmt: skip
def test_is_a_typed_error(tmp_path: Path, answer: Answer, error: type[IContactError], says: str) -> None:
    with Hostile(answer) as server:
        tracemalloc.start()
        with pytest.raises(error, match=says) as caught:
            session(server, tmp_path).get("/time")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert type(caught.value) is error
        assert peak < 10 << 20
        assert len(server.requests) == 1
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", ["true", "7", "[]", "{}", "1.5", "null", '"soon"'])
def test_a_clock_of_another_kind_is_a_typed_error(tmp_path: Path, value: str) -> None:
    with Hostile(http(f'{{"time": {value}}}'.encode())) as server, pytest.raises(Transient, match="no readable time"):
        Account(session(server, tmp_path)).time()


@pytest.mark.parametrize("answer", [drip(http(length=False)), http(BOMB, "Content-Encoding: gzip"), http(), b"SSH\r\n"])
def test_a_write_with_an_odd_answer_is_not_repeated(tmp_path: Path, answer: Answer) -> None:
    with Hostile(answer) as server:
        with pytest.raises(UnknownOutcome):
            session(server, tmp_path, tries=3).post("/a/1/c/1/subscriptions", [])
        assert len(server.requests) == 1


def test_an_odd_value_in_the_answer_to_a_write_is_no_error(tmp_path: Path) -> None:
    body = b'{"subscriptions": [{"a": "\\ud83c", "b": ' + b"9" * 5000 + b', "c": ' + b"[" * 9000 + b"]" * 9000 + b"}]}"
    with Hostile(http(body)) as server:
        [row] = session(server, tmp_path).post("/a/1/c/1/subscriptions", []).body["subscriptions"]
        assert (row["a"], row["b"]) == ("\ufffd", "9" * 5000)


def _page(value: str) -> bytes:
    return f'{{"rows": [{{"a": {value}}}], "total": 1}}'.encode()


def test_every_odd_answer_ends_in_a_value_or_a_typed_error(tmp_path: Path) -> None:
    answers = [
        *(http(body) for body in BODIES[::3] if len(body) < 10_000),
        *(http(FINE, header) for header in HEADERS),
        *(http(body, status=status) for status in STATUSES for body in (FINE, b"", b"<html>")),
    ]
    operations = cycle(OPERATIONS)
    with Says() as server:
        folder = Folder(session(server, tmp_path), "1", "1")
        ended = Counter(play(folder, server, next(operations), answer) for answer in answers)
    assert ended.keys() > {"fine", "Transient", "Rejected", "UnknownOutcome", "PageFailed", "Incomplete"}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (r'"\ud83d\ude00"', GRIN),
        (f'"{GRIN}"', GRIN),
        (r'"x\ud83d"', "x\ufffd"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ud83d\ude00"', f"\ufffd{GRIN}"),
        (r'"\\ud83d"', r"\ud83d"),
        (r'{"\ud83d": [1], "\ud83c": ["\ud83c"]}', {"\ufffd": [1], "\ufffd\ufffd": ["\ufffd"]}),
        ("18446744073709551616", "18446744073709551616"),
        ("9223372036854775807.0", 9223372036854775807.0),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", "-9223372036854775809"),
        ("9" * 5000, "9" * 5000),
        ("1e400", "1e400"),
        ("-1e400", "-1e400"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ('"\x01\x00"', "\x01\x00"),
        ("1.5", 1.5),
    ],
)
def test_what_no_column_can_hold_becomes_text(value: str, found: Any) -> None:
    assert decode(_page(value)).body["rows"] == [{"a": found}]


@pytest.mark.parametrize("depth", [DEEPEST - 3, DEEPEST - 2, 1000, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"x":', "}")])
def test_what_is_nested_too_deep_becomes_text(depth: int, opened: str, closed: str) -> None:
    inner = '"]}\\""'
    sent = f'{{"rows": [{{"a": {opened * depth}{inner}{closed * depth}, "b": 1}}, {{"a": 2}}]}}'
    first, second = decode(sent.encode()).body["rows"]
    assert (first["b"], second) == (1, {"a": 2})
    # The body, its rows and the row are three levels.
    kept = min(depth, DEEPEST - 3)
    value = first["a"]
    for _ in range(kept):
        value = value[0] if closed == "]" else value["x"]
    more = depth - kept
    assert value == (f"{opened * more}{inner}{closed * more}" if more else json.loads(inner))


@pytest.mark.parametrize(
    ("content", "content_type", "found", "repaired"),
    [
        ('["é"]'.encode("latin-1"), "text/html; charset=ISO-8859-1", ["é"], False),
        ('["“é”"]'.encode("cp1252"), 'text/html; charset="windows-1252"', ["“é”"], False),
        ('["é"]'.encode(), "text/html; charset=ISO-8859-1", ["é"], False),
        ('["é"]'.encode("latin-1"), "application/json", ["\ufffd"], True),
        ('["é"]'.encode("latin-1"), "application/json; charset=utf-8", ["\ufffd"], True),
        ('["é"]'.encode("latin-1"), "application/json; charset=punycode", ["\ufffd"], True),
        ('["é"]'.encode("latin-1"), "application/json; charset=no-such", ["\ufffd"], True),
        (b'["\\ud83d"]', "", ["\ufffd"], True),
        (b'["\\ud83d\\ude00"]', "", [GRIN], False),
        ('["\ufffd"]'.encode(), "", ["\ufffd"], False),
    ],
)
def test_a_charset_is_used_where_the_text_is_not_utf_8(
    content: bytes, content_type: str, found: Any, repaired: bool
) -> None:
    assert (decode(content, content_type).body, decode(content, content_type).repaired) == (found, repaired)


def test_what_is_repaired_is_counted(tmp_path: Path) -> None:
    with Hostile(http(b'["\\ud83d"]'), http(b"[]"), http(b'["\xe9"]')) as server:
        asked = session(server, tmp_path)
        assert [asked.get("/time").body for _ in range(3)] == [["\ufffd"], [], ["\ufffd"]]
        assert asked.repaired == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.booleans())
def test_every_json_is_decoded_to_what_can_be_stored(value: Any, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    found = decode(text.encode("utf-8", "replace"))
    assert found.is_json
    json.dumps(found.body, ensure_ascii=False, allow_nan=False).encode()


@given(st.binary(max_size=60), st.text(max_size=20))
def test_no_body_is_too_odd_to_decode(content: bytes, content_type: str) -> None:
    decode(content, f"text/html; charset={content_type}")


@pytest.mark.parametrize(
    "hard", [b'"\\"' * 200_000, b'{"a": "' + b'\\"' * 400_000, b"[" * 300_000, b'{"a":' * 100_000, b"]" * 300_000]
)
def test_a_body_that_is_hard_to_take_apart_takes_no_longer(hard: bytes) -> None:
    assert not decode(hard).is_json


def test_a_long_text_without_a_blank_is_masked_in_linear_time() -> None:
    assert mask("x" * 1_000_000) == "x" * 1_000_000
    assert mask("x" * 500_000 + "@" + "y" * 500_000) == "<address>"
    assert mask("x@" * 200_000).count("<address>") == 200_000 // 2


def written(header: str | float) -> str:
    """A header: as it is, or the date so many seconds from now."""
    if isinstance(header, str):
        return header
    return format_datetime(datetime.now(UTC) + timedelta(seconds=header), usegmt=True)


@pytest.mark.parametrize("header", ["3600", "3600, 3600", " 3600 ", 3600.0, "9" * 5000, 9e8, "120.5"])
def test_a_long_pause_is_said_at_once_and_kept_by_every_process(tmp_path: Path, header: str | float) -> None:
    with Hostile(http(b"{}", f"Retry-After: {written(header)}", status="429 No"), http(FINE)) as server:
        with pytest.raises(AskedToWait, match=r"429.* nothing is sent before") as caught:
            session(server, tmp_path, tries=3).get("/time")
        seconds = (caught.value.resumes_at - datetime.now(UTC)).total_seconds()
        assert 110 < seconds <= 86_400
        with pytest.raises(AskedToWait, match="nothing is sent before") as again:
            session(server, tmp_path).get("/time")
        assert abs(again.value.resumes_at - caught.value.resumes_at) < timedelta(seconds=1)
        assert len(server.requests) == 1


@pytest.mark.parametrize("ahead", [-48, 48])
def test_a_pause_until_a_date_is_measured_by_the_clock_of_the_service(tmp_path: Path, ahead: int) -> None:
    now = ahead * 3600.0
    headers = f"Retry-After: {written(now + 3600)}\r\nDate: {written(now)}"
    with Hostile(http(b"{}", headers, status="429 No")) as server:
        with pytest.raises(AskedToWait) as caught:
            session(server, tmp_path, tries=1).get("/time")
        assert abs((caught.value.resumes_at - datetime.now(UTC)).total_seconds() - 3600) < 60


@pytest.mark.parametrize(
    "header", ["²", "-5", "0", "", "soon", -3600.0, "Mon, 99999999999999999999 Jan", "٣٦٠٠", "1e5"]
)
def test_a_pause_that_is_none_is_not_waited_for(tmp_path: Path, header: str | float) -> None:
    answer = http(b"{}", status="503 No").replace(b"\r\n", f"\r\nRetry-After: {written(header)}\r\n".encode(), 1)
    with Hostile(answer, http(FINE)) as server:
        assert session(server, tmp_path, tries=2).get("/time").body == json.loads(FINE)


def test_a_short_pause_is_waited_for_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Hostile(http(b"{}", "Retry-After: 1", status="503 No"), http(FINE)) as server:
        began = time.monotonic()
        assert session(server, tmp_path, tries=2).get("/time").body == json.loads(FINE)
        assert time.monotonic() - began > 0.9
    assert "asks to wait: waiting 1 s" in caplog.text

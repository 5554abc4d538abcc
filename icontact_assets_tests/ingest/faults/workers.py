"""Several messages read at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from icontact_assets_tests.harness import BESIDE, ENDED, EVENTS, Stage, check_equal, contents
from icontact_assets_tests.ingest.faults.play import Play, Row


def workers(per_second: int, per_minute: int = 0, counts: Sequence[int] = (1, 2, 8)) -> Callable[[Stage], str]:
    """So many messages at once: the same tables, and never more requests than allowed in any window."""

    def play(stage: Stage) -> str:
        found, asked = [], []
        for count in counts:
            stage.clear_log()
            project = stage.project(
                ICONTACT_WORKERS=str(count),
                ICONTACT_REQUESTS_PER_SECOND=str(per_second),
                ICONTACT_REQUESTS_PER_MINUTE=str(per_minute),
            )
            assert stage.run(project, ENDED, EVENTS).green
            check_equal(project, leave_out=BESIDE)
            found.append(contents(project))
            times = [row["time"] for row in stage.sandbox.control("log")]
            asked.append(len(times))
            for seconds, most in ((1, per_second), (60, per_minute)):
                if most:
                    # A request is counted when it is sent; on a busy machine the way to the server may take it
                    # some tenths of a second closer to the next.
                    assert most_within(times, seconds - 0.3) <= most
        assert all(tables == found[0] for tables in found)
        assert len(set(asked)) == 1
        limit = f"{per_minute} a minute" if per_minute else f"{per_second} a second"
        return f"equal; never more than {limit}"

    return play


def most_within(times: Sequence[float], seconds: float) -> int:
    """The most requests in any window of so many seconds."""
    return max(sum(start <= moment < start + seconds for moment in times) for start in times)


FEW_CONTACTS = {"contacts": 60, "messages": 10, "days": 20}

WORKERS = Row(
    "1, 2 and 8 workers",
    "equal table hashes; the request log never exceeds the limit",
    [
        Play("25 a second", workers(25)),
        Play("1 and 8, 25 a second", workers(25, counts=(1, 8)), FEW_CONTACTS, tested="only"),
        Play("40 a minute", workers(0, 40)),
    ],
)

"""A worker that is killed, again and again: the run that follows ends right, and maintenance removes what was left.

`benchmarks/kills.py` kills at more moments.
"""

from __future__ import annotations

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.harness.kills import finished, killed, orphans_removed, outcome


def test_the_run_after_three_kills_ends_right(project: Project, variables: dict[str, str]) -> None:
    project.quick()
    yesterday = Window(days_ago(1), days_ago(1))
    assert finished(project, yesterday)[0]
    undisturbed = outcome(project)
    project.environment |= variables
    # Each comes farther than the one before. How far depends on the machine.
    cut_off = [killed(project, yesterday, seconds) for seconds in (0.5, 1.0, 2.0)]
    assert any(cut_off)
    assert finished(project, yesterday)[0]
    assert len(undisturbed["raw_activity"]) > 100
    assert outcome(project) == undisturbed
    orphans_removed(project)
    assert outcome(project) == undisturbed

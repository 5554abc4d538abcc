"""Fixtures of the reports."""

from __future__ import annotations

import pytest

from icontact_assets_tests.harness import Store
from icontact_assets_tests.reports.world import World


@pytest.fixture
def world(store: Store) -> World:
    return World(store)

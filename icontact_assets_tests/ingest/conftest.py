"""Assertions in the scenarios speak as those in tests do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("icontact_assets_tests.ingest.stage", "icontact_assets_tests.ingest.scenarios")

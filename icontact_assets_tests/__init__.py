"""Tests, in the rooms of what they test. Assertions of the harness and of the faults speak as those in tests do."""

import pytest

pytest.register_assert_rewrite("icontact_assets_tests.harness", "icontact_assets_tests.ingest.faults")

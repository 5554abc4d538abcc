"""Instants as the tables hold them: UTC without a zone."""

from __future__ import annotations

from datetime import UTC, datetime


def naive(instant: datetime) -> datetime:
    """An aware instant as the tables hold it."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def aware(instant: datetime | None) -> datetime | None:
    """An instant of a table as an aware one."""
    return None if instant is None else instant.replace(tzinfo=UTC)

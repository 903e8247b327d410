"""Days as people count them: by the zone of the computer, as text."""

from datetime import date, datetime, timedelta, tzinfo
from typing import NewType

Day = NewType("Day", str)
"""YYYY-MM-DD, so that days compare as they sort."""


def day_of(moment: datetime, zone: tzinfo | None) -> Day:
    """The day that it is at this moment; in the computer's own zone where none is given."""
    return Day(moment.astimezone(zone).date().isoformat())


def days_ago(today: Day, days: int) -> Day:
    """The day so many days before this one."""
    return Day((date.fromisoformat(today) - timedelta(days=days)).isoformat())

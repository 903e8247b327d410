"""Accepting: once and for all, one committed row, before anybody is told that it arrived."""

from salver_server.intake.accept import Accepted, Intake
from salver_server.intake.queue import Queue

__all__ = ["Accepted", "Intake", "Queue"]

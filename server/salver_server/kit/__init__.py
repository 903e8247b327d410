"""Helpers that know nothing of Salver."""

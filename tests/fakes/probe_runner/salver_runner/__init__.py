"""Poses as the runner in tests of runtimes: does whatever the test's script says."""

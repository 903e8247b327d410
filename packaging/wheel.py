"""Puts the runner into the wheel as data, at salver_server/_runner."""

from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RunnerAsData(BuildHookInterface[BuilderConfig]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable install finds the runner in the checkout; a copy of it would go stale.
        if version == "standard":
            build_data["force_include"]["container"] = "salver_server/_runner"

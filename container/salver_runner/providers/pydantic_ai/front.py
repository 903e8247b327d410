"""What stands before all messages of a request: instructions and tools."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic_ai.messages import InstructionPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from salver_runner.context import Part, part
from salver_runner.instructions import Instructions
from salver_runner.tools import ToolSpec


@dataclass(frozen=True, kw_only=True)
class Front:
    told: Instructions
    tools: Mapping[str, ToolSpec]

    @cached_property
    def parameters(self) -> ModelRequestParameters:
        """As the library takes them."""
        return ModelRequestParameters(
            function_tools=[_definition(tool) for tool in self.tools.values()],
            instruction_parts=[InstructionPart(content=str(self.told))],
        )

    @cached_property
    def parts(self) -> list[Part]:
        """As they are kept on record."""
        told = self.told
        tools = [
            f"{tool.name} {tool.description} {json.dumps(tool.parameters)}"
            for tool in self.tools.values()
        ]
        return [
            part("base", [told.base]),
            part("instructions", [told.agent] * bool(told.agent)),
            part("memory", [told.memory] * bool(told.memory)),
            part("skills", told.skills.splitlines()[1:]),
            part("tools", tools),
        ]

    @property
    def size(self) -> int:
        """Tokens, about."""
        return sum(part.tokens for part in self.parts)


def _definition(tool: ToolSpec) -> ToolDefinition:
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.parameters),
        strict=False,
    )

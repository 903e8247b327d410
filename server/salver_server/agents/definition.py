"""AGENT.md: front matter in YAML, then the instructions. One parser for hand and form."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from salver_server.agents.matter import front_matter
from salver_server.errors import Rejected
from salver_server.ids import SKILL_NAME, SkillName
from salver_server.kit.hosts import site

LONGEST_FILE = 200_000
"""Characters of an AGENT.md."""


Named = Annotated[SkillName, Field(pattern=f"^{SKILL_NAME.pattern}$")]


def _site(text: str) -> str:
    try:
        return site(text)
    except ValueError as exc:
        raise ValueError(
            f"'{text}' cannot be listed: {exc}. Write it like en.example.org or *.example.org"
        ) from exc


Site = Annotated[str, AfterValidator(_site)]


class Bounds(BaseModel):
    """`limits:` what one sandbox and one turn of this agent may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_mb: Annotated[int, Field(ge=64, le=65536)] = 1024
    processes: Annotated[int, Field(ge=8, le=4096)] = 256
    file_mb: Annotated[int, Field(ge=1, le=65536)] = 1024
    disk_mb: Annotated[int, Field(ge=16, le=1048576)] = 4096
    tmp_mb: Annotated[int, Field(ge=1, le=65536)] = 256
    rounds: Annotated[int, Field(ge=1, le=1000)] = 50
    """Requests to the model in one turn."""
    seconds: Annotated[float, Field(gt=0, le=86400)] = 900
    """Wall clock of one turn."""


Dollars = Annotated[float, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)]


class Budget(BaseModel):
    """`budget:` what this agent's calls to models may cost; what is not named has no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd_per_day: Dollars | None = None
    usd_per_turn: Dollars | None = None
    usd_per_session: Dollars | None = None
    tokens_per_day: Annotated[int, Field(gt=0, le=10**12)] | None = None


class Definition(BaseModel):
    """The front matter of AGENT.md, and the instructions below it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=80)] = "Salver"
    """How people call it."""
    provider: str = ""
    """Empty is the house's default."""
    model: str = ""
    """Empty is the account's, or the provider's suggestion."""
    fallback: list[str] = []
    """What stands in for a model that fails, in order: a provider, or a provider and a model behind a slash."""
    runtime: str = ""
    """Empty is the house's default."""
    limits: Bounds = Bounds()
    budget: Budget = Budget()
    workspace: Literal["shared", "per-session"] = "shared"
    mounts: list[object] = []
    web: Literal["none", "listed", "public"] = "listed"
    sites: Annotated[tuple[Site, ...], Field(max_length=100)] = ()
    """Hosts that `listed` means, in their one spelling."""
    grants: list[object] = []
    skills: Annotated[list[Named], Field(max_length=50)] = []
    """Names of those that the agent may read."""
    instructions: str = ""


def parse(text: str) -> Definition:
    """What an AGENT.md says; raises `Rejected` with the place and the way out."""
    if len(text) > LONGEST_FILE:
        raise Rejected(
            f"AGENT.md has {len(text)} characters; at most {LONGEST_FILE} are read. Shorten it."
        )
    found, body = front_matter(text, file="AGENT.md")
    if "instructions" in found:
        raise Rejected(
            "AGENT.md: the instructions are the text below the second '---', not a field."
        )
    try:
        definition = Definition.model_validate({**found, "instructions": body})
    except ValidationError as exc:
        problem = exc.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        says = problem["msg"].removeprefix("Value error, ")
        raise Rejected(f"AGENT.md, field '{field}': {says}. {_known()}") from exc
    _refuse_reach(definition)
    return definition


def _known() -> str:
    return f"Known fields: {', '.join(name for name in Definition.model_fields if name != 'instructions')}."


def _refuse_reach(definition: Definition) -> None:
    """A field that reaches the host counts only after an approval, and nothing can approve these yet."""
    for field, asked in (("mounts", definition.mounts), ("grants", definition.grants)):
        if asked:
            raise Rejected(
                f"AGENT.md, field '{field}': it reaches beyond the sandbox and needs an approval, "
                "which this version cannot ask for. Remove it."
            )
    if definition.runtime == "none":
        raise Rejected(
            "AGENT.md, field 'runtime': 'none' isolates nothing and needs an approval, "
            "which this version cannot ask for. Remove it."
        )

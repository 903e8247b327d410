"""Reading a request of a sandbox strictly: what is not of the known form is refused with a sentence."""

from collections.abc import Mapping
from typing import Any, NoReturn, cast

from salver_server.calls import LONGEST_MODEL
from salver_server.gateway.exchange import Refused
from salver_server.gateway.wires import Json

MOST_TOKENS = 10**9


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def refuse(why: str) -> NoReturn:
    raise Refused(400, "bad_request", f"The model was not asked: {why}.")


def only(holder: Json, fields: frozenset[str], where: str) -> None:
    """Nothing but these fields; what is null or false asks for nothing."""
    for name, value in holder.items():
        if name not in fields and value is not None and value is not False:
            refuse(f"Salver lets no {shown(name)} in {where} through")


def only_kind(holder: Json, kinds: Mapping[str, frozenset[str]], where: str) -> str:
    """The `type` of this object: one of these, each with its fields."""
    kind = holder.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        refuse(f"Salver lets no {shown(kind)} in {where} through")
    only(holder, kinds[kind] | {"type"}, f"the {kind} of {where}")
    return kind


def objects(value: Any, where: str) -> list[Json]:
    """A list of objects; empty if there is none."""
    if value is None:
        return []
    if not isinstance(value, list):
        refuse(f"{where} has to be a list")
    return [an_object(one, where) for one in cast("list[Any]", value)]


def an_object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        refuse(f"{where} has something in it that is no object")
    return cast("Json", value)


def object_in(holder: Json, name: str) -> Json:
    """An object that may be missing."""
    value = holder.get(name)
    return {} if value is None else an_object(value, f"its '{name}'")


def model(body: Json) -> str:
    name = body.get("model")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_MODEL or not name.isprintable():
        refuse("it names no model")
    return name


def whole(holder: Json, name: str) -> int | None:
    """A number of tokens or choices."""
    value = holder.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MOST_TOKENS:
        refuse(f"its '{name}' is no number above zero")
    return value


def flag(holder: Json, name: str) -> bool:
    value = holder.get(name)
    if value is not None and not isinstance(value, bool):
        refuse(f"its '{name}' is neither true nor false")
    return value is True


def one_answer(holder: Json, name: str) -> None:
    """Further answers would be paid for, too."""
    if whole(holder, name) not in (None, 1):
        refuse(f"its '{name}' asks for more than one answer")


def inline(url: Any, where: str) -> None:
    """Data that lies in the request itself: an address would send the vendor there."""
    if not isinstance(url, str) or not url.startswith("data:"):
        refuse(f"{where} has to come as data, not as an address")


def cached_shortly(holder: Json) -> None:
    """Five minutes in the vendor's cache have one price, longer ones another."""
    if inner(holder, "cache_control").get("ttl") not in (None, "5m"):
        refuse("Salver lets nothing be cached for longer than five minutes")


def most(*limits: int | None) -> int | None:
    """The largest of several limits, since nobody knows which one counts."""
    return max((limit for limit in limits if limit is not None), default=None)


def count(usage: Json, *path: str) -> int:
    """A number that a vendor tells; zero where it tells none that makes sense."""
    value: Any = usage
    for name in path:
        value = cast("Json", value).get(name) if isinstance(value, dict) else None
    sensible = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if sensible else 0


def inner(holder: Json, name: str) -> Json:
    """An object within; empty if there is none."""
    value = holder.get(name)
    return cast("Json", value) if isinstance(value, dict) else {}


def shown(value: Any) -> str:
    """What a sandbox wrote, for people."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"

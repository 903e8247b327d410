"""Markdown with front matter: the fields in YAML between two lines of `---`, and the text below them."""

from typing import cast

import yaml

from salver_server.errors import Rejected

FENCE = "---"


def front_matter(text: str, *, file: str) -> tuple[dict[str, object], str]:
    """The fields and the text below; raises `Rejected` with the place in `file` and the way out."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise Rejected(f"{file} holds half of a character (a lone surrogate). Remove it.") from exc
    matter, body = _split(text, file)
    try:
        fields: object = yaml.safe_load(matter) if matter.strip() else {}
    except (yaml.YAMLError, ValueError, RecursionError) as exc:  # ValueError: of a day that isn't
        mark = getattr(exc, "problem_mark", None)
        where = f"line {mark.line + 2}" if mark else "the front matter"
        problem = getattr(exc, "problem", None) or str(exc).partition("\n")[0]
        # To YAML a star is a reference.
        quotes = (
            " Put what begins with a star in quotes: '*.example.org'." if "*." in matter else ""
        )
        raise Rejected(
            f"{file}, {where}: {problem}. Correct the lines between the two '---'.{quotes}"
        ) from exc
    if not isinstance(fields, dict):
        raise Rejected(f"{file}: between the two '---' there must be lines like 'name: value'.")
    return cast(dict[str, object], fields), body.strip()


def _split(text: str, file: str) -> tuple[str, str]:
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != FENCE:
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.strip() == FENCE:
            return "\n".join(lines[1:number]), "\n".join(lines[number + 1 :])
    raise Rejected(f"{file} begins with '---', but no second '---' ends the front matter. Add it.")

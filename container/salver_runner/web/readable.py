"""HTML as text for a model: headings, lists and links stay, everything that is only looks goes.

Not by `html.parser`: on a hostile page of 100 KB it takes half a minute, since it looks for the end of
each unfinished tag anew. Here every character is looked at a few times, whatever they are.
"""

import html
import re
from urllib.parse import urljoin

TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(?P<end>/?)(?P<tag>[a-zA-Z][a-zA-Z0-9:-]*)(?P<attributes>[^<>]*)>"
    r"|<[!?][^<>]*>|(?P<text>[^<]+|<)",
    re.DOTALL,
)
ATTRIBUTE = re.compile(r"""\b(href|alt)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
LONGEST_TAG = 10_000
"""Characters of attributes that are looked through."""
UNSEEN = frozenset(
    ("script", "style", "template", "svg", "noscript", "iframe", "textarea", "select")
)
BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "div",
        "dl",
        "dt",
        "figure",
        "footer",
        "form",
        "header",
        "main",
        "nav",
        "ol",
        "p",
        "section",
        "table",
        "title",
        "ul",
    ]
)
HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
LINES = {"br": "\n", "hr": "\n---\n", "li": "\n- ", "tr": "\n", "td": " | ", "th": " | "}


def readable(source: str, *, base: str) -> str:
    """The text of a page; its links are made whole with the address `base`."""
    page = _Page(base)
    at = 0
    while token := TOKEN.match(source, at):
        at = token.end()
        tag = (token["tag"] or "").lower()
        if tag in UNSEEN and not token["end"]:
            at = _after(source, tag, at)
        elif tag:
            page.tag(tag, token["attributes"][:LONGEST_TAG], ends=bool(token["end"]))
        elif token["text"]:
            page.text(html.unescape(token["text"]))
    return page.whole()


def _after(source: str, tag: str, at: int) -> int:
    """Where what nobody sees has ended."""
    end = re.compile(rf"</{tag}[^<>]*>", re.IGNORECASE).search(source, at)
    return end.end() if end else len(source)


class _Page:
    def __init__(self, base: str) -> None:
        self._base = base
        self._parts: list[str] = []
        self._kept = 0
        """How many `pre` are open: within, blanks and line ends stay."""
        self._link: tuple[int, str] | None = None
        """Where the open link began among the parts, and where it leads."""

    def text(self, text: str) -> None:
        if self._kept:
            self._parts.append(text)
            return
        text = re.sub(r"\s+", " ", text)
        if not self._parts or self._parts[-1].endswith(("\n", " ")):
            text = text.lstrip()
        if text:
            self._parts.append(text)

    def tag(self, tag: str, attributes: str, *, ends: bool) -> None:
        if tag == "a":
            self._close_link()
            href = "" if ends else _attribute(attributes, "href")
            self._link = (len(self._parts), href) if href else None
        elif tag == "pre":
            self._kept = max(0, self._kept + (-1 if ends else 1))
            self._parts.append("\n```\n")
        elif tag in HEADINGS:
            self._parts.append("\n\n" if ends else f"\n\n{HEADINGS[tag]}")
        elif tag in BLOCKS:
            self._parts.append("\n\n")
        elif tag in LINES and not ends:
            self._parts.append(LINES[tag])
        elif tag == "img" and (alt := _attribute(attributes, "alt").strip()):
            self.text(f"[image: {alt}]")

    def _close_link(self) -> None:
        if self._link is None:
            return
        start, href = self._link
        self._link = None
        label = " ".join("".join(self._parts[start:]).split())
        try:
            target = urljoin(self._base, href)
        except ValueError:
            return
        if label and target.startswith(("http://", "https://")) and "#" not in href[:1]:
            self._parts[start:] = [f"[{label}]({target})"]

    def whole(self) -> str:
        self._close_link()
        lines = "".join(self._parts).split("\n")
        return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()


def _attribute(attributes: str, name: str) -> str:
    for found, *values in ATTRIBUTE.findall(attributes):
        if found.lower() == name:
            return html.unescape("".join(values))
    return ""

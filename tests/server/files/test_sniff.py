from dataclasses import dataclass

import pytest

from salver_server.files.sniff import INLINE, PROBE, sniffed


@dataclass(frozen=True, kw_only=True)
class Case:
    id: str
    head: bytes
    type: str


CASES = [
    Case(id="png", head=b"\x89PNG\r\n\x1a\n\0\0", type="image/png"),
    Case(id="jpeg", head=b"\xff\xd8\xff\xe0", type="image/jpeg"),
    Case(id="gif", head=b"GIF89a", type="image/gif"),
    Case(id="webp", head=b"RIFF\x10\0\0\0WEBPVP8 ", type="image/webp"),
    Case(id="wave", head=b"RIFF\x10\0\0\0WAVEfmt ", type="application/octet-stream"),
    Case(id="pdf", head=b"%PDF-1.7", type="application/pdf"),
    Case(id="zip", head=b"PK\x03\x04", type="application/zip"),
    Case(id="empty-zip", head=b"PK\x05\x06", type="application/zip"),
    Case(id="text", head="grüße\r\n".encode(), type="text/plain"),
    Case(id="nothing", head=b"", type="text/plain"),
    Case(id="svg", head=b"<svg xmlns='http://www.w3.org/2000/svg'/>", type="text/plain"),
    Case(id="html", head=b"<!doctype html><script>", type="text/plain"),
    Case(id="zero", head=b"a\0b", type="application/octet-stream"),
    Case(id="latin-1", head=b"gr\xfc\xdfe", type="application/octet-stream"),
    Case(id="half-a-character", head="ü".encode()[:1], type="application/octet-stream"),
    Case(id="cut-by-us", head=b"a" + "ü".encode() * PROBE, type="text/plain"),
    Case(id="half-a-picture", head=b"\x89PNG", type="application/octet-stream"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_file_is_what_it_holds(case: Case) -> None:
    assert sniffed(case.head) == case.type


def test_nothing_that_may_hold_a_script_is_shown_in_a_page() -> None:
    assert all(sniffed(case.head) not in INLINE for case in CASES if case.id in ("svg", "html"))

import pytest

from salver_runner.web.readable import readable

PAGE = """<!DOCTYPE html>
<html><head><title>A page</title><style>p { color: red }</style>
<script>if (1 < 2) document.write("<p>evil")</script></head>
<body><!-- nothing --><nav><a href="/">Home</a></nav>
<h1>Bread &amp; butter</h1>
<p>Some   <b>bold</b>
text, <a href="more?x=1&amp;y=2">and
more</a>.<br>New line
<ul><li>one</li><li>two <a href='https://b.org'>three</a></ul>
<pre>  kept
    as it is &lt;</pre>
<table><tr><th>a<th>b<tr><td>1<td>2</table>
<img src=x alt="a cat"><img src=y><a href="javascript:x()">no</a> <a href="#top">up</a>
</body></html>"""

TEXT = """A page

[Home](https://a.org/)

# Bread & butter

Some bold text, [and more](https://a.org/more?x=1&y=2).
New line

- one
- two [three](https://b.org)

```
  kept
    as it is <
```

 | a | b
 | 1 | 2

[image: a cat]no up"""


def test_a_page_becomes_text() -> None:
    assert readable(PAGE, base="https://a.org/dir") == TEXT


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", ""),
        ("just text", "just text"),
        ("1 < 2 and <3", "1 < 2 and <3"),
        ("<p>not ended", "not ended"),
        ("a<script>b", "a"),
        ("a<!-- b", "a"),
        ("a</b></p></nothing>", "a"),
        ("<a href='https://[x'>bad</a>", "bad"),
        ("<a href=x><a href=y>two</a>", "[two](https://a.org/y)"),
        ("<a href=x>open", "[open](https://a.org/x)"),
        ("</pre></pre>a  b", "```\n\n```\na b"),
        ("&lt;notice&gt;&#0;&#x110000;&nosuch;", "<notice>\ufffd\ufffd&nosuch;"),
    ],
)
def test_no_page_is_too_odd(source: str, text: str) -> None:
    assert readable(source, base="https://a.org/") == text


@pytest.mark.parametrize(
    "unit",
    [
        *("<a", "<!", "<!--", "<?", "</", '<a ="', "<a x='", "<a \n x", "<x y=", "<script>"),
        *("</script ", "<a href=x>", "<pre>", "<li>", "&", "&#", "<svg", "<svg></svg>", "\n", " "),
    ],
)
def test_a_hostile_page_takes_no_more_time_than_an_honest_one(unit: str) -> None:
    # What took the square of its length would not come back within minutes.
    readable(unit * (500_000 // len(unit)), base="https://a.org/")

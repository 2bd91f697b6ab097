"""Both forms of a document: whatever texts are in it, they stay texts. Read by an HTML parser and by a Markdown one."""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from swarm.curves import Chart, Series
from swarm.document import Document, Paragraph, Pictures, Quote, Rows, Section, Table, to_html, to_markdown
from swarm.markdown import code, escaped

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</pre></figure><h1>owned</h1>",
    '" onmouseover="alert(1)',
    "[a link](https://example.org) ![a picture](https://example.org/x.png)",
    "https://example.org and www.example.org and a@example.org",
    "| a | table |",
    "```\nout of the block\n```\n\n# A title",
    "\n\n---\n\n> quoted\n\n1. one\n- two\n+ three\n    four",
    "&lt;b&gt; &#60;b&#62; \\<b\\>",
    "~~~\n<b>\n~~~",
    "a  \nb\\\nc",
    "$x$ ^y^ `z` *w* _v_ ~~u~~",
]
letters = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=60)
marks = st.text(st.sampled_from("\\`*_{}[]<>()#+-.!|~&@:=$^1a \n\"'"), max_size=40)


def document(text: str) -> Document:
    chart = Chart(text, [Series(text, [(0, 1.0), (1, 2.0)]), Series("b", [(0, 2.0)])])
    blocks = [
        Paragraph(text),
        Rows([(text, text)]),
        Table([text, "#n"], [[text, "1"], ["x", "2"]]),
        Pictures([chart]),
        Quote(text, text, text),
    ]
    return Document(text, [Rows([(text, text)], large=True)], [Section(text, blocks)])


class Elements(HTMLParser):
    """Names of elements, their attributes, and the texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


PLAIN = Elements(to_html(document("plain")))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_an_element_of_the_page(text: str) -> None:
    found = Elements(to_html(document(text)))
    assert found.names == PLAIN.names
    assert found.attributes == PLAIN.attributes
    assert text in found.text


@given(st.one_of(letters, marks))
def test_no_text_at_all_does(text: str) -> None:
    assert Elements(to_html(document(text))).names == PLAIN.names


def rendered(markdown: str) -> Elements:
    return Elements(MarkdownIt("gfm-like", {"linkify": False}).render(markdown))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup_in_markdown(text: str) -> None:
    found = rendered(to_markdown(document(text), "x-{number}.svg"))
    plain = rendered(to_markdown(document("plain"), "x-{number}.svg"))
    assert {"script", "a", "iframe"}.isdisjoint(found.names)
    assert found.names.count("img") == 1
    assert [name for name in found.names if name not in ("p", "br")] == [
        name for name in plain.names if name not in ("p", "br")
    ]


@given(st.one_of(letters, marks))
def test_escaped_text_reads_as_it_was(text: str) -> None:
    found = rendered(f"x {escaped(text)}")
    assert set(found.names) <= {"p", "br"}
    assert unescape(found.text).split() == f"x {text}".split()


@given(marks)
def test_a_block_of_code_ends_where_it_shall(text: str) -> None:
    found = rendered(f"x\n\n{code('begin ' + text)}\n\nend")
    assert found.names == ["p", "pre", "code", "p"]


def test_a_page_fetches_nothing_and_runs_nothing() -> None:
    page = to_html(document("plain"))
    assert "default-src 'none'" in page
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(Elements(page).names)
    assert {"src", "href", "onload", "onclick"}.isdisjoint(Elements(page).attributes)
    assert "url(" not in page.replace("http://www.w3.org/2000/svg", "")


def test_pictures_are_files_beside_markdown() -> None:
    assert "![Loss](run-1.svg)" in to_markdown(
        Document("t", [], [Section("s", [Pictures([Chart("Loss", [Series("x", [(0, 1.0)])])])])]), "run-{number}.svg"
    )

"""Reading Markdown, HTML and CSV into plain documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.knowledge_files import KnowledgeFileError, SourceDocument, passed_over, read_knowledge

ARTICLE = """---
id: change-pin
title: "Changing your PIN: how"
topics: [cards, pin]
intents: [change_pin]
questions:
  - How do I change it?
  - "New PIN: where?"
url: https://bank.example/pin
---
You can change **the PIN** at a `machine`, see
[the map](https://x.example).

## Abroad

1. First *this*
2. Then that
   - and a detail

| Country | Works |
| --- | --- |
| France | yes |
"""


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return path


def one(path: Path) -> SourceDocument:
    (document,) = read_knowledge(path)
    return document


def test_markdown_becomes_plain_text_with_what_its_front_matter_says(tmp_path: Path) -> None:
    assert one(write(tmp_path, "x.md", ARTICLE)) == SourceDocument(
        "change-pin",
        "Changing your PIN: how",
        "You can change the PIN at a machine, see the map.\n\n"
        "## Abroad\n\n"
        "- First this\n- Then that\n- and a detail\n\n"
        "Country | Works\n\nFrance | yes",
        ("How do I change it?", "New PIN: where?"),
        "https://bank.example/pin",
        {"topics": "cards,pin", "intents": "change_pin"},
    )


def test_markdown_without_front_matter_takes_title_and_id_from_what_there_is(
    tmp_path: Path,
) -> None:
    document = one(write(tmp_path, "Opening Hours.md", "# When we are open\r\n\r\nAlways."))
    assert (document.document_id, document.title, document.text) == (
        "opening-hours",
        "When we are open",
        "Always.",
    )
    assert one(write(tmp_path / "b", "lost_card.md", "Freeze it.")).title == "Lost card"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("---\ntitle: x\nno end", 1, "closing"),
        ("---\ntitle: a: b\n---\ntext", 2, "quotes"),
        ("---\ntitle: x\nquestions: [a\n---\ntext", 3, "YAML"),
        ("---\n- a\n---\ntext", 2, "name: value"),
        ("---\ntitle: [a]\n---\ntext", 1, '"title"'),
        ("---\nquestions:\n  - Why: this\n---\ntext", 1, '"questions"'),
        ("---\nid: Not Good\n---\ntext", 1, "'Not Good'"),
        ("---\ntitle: x\n---\n\n", None, "no text"),
        (b"fine\n\xffnot", 2, "UTF-8"),
    ],
)
def test_markdown_that_cannot_be_read_says_where_and_why(
    tmp_path: Path, content: str | bytes, line: int | None, words: str
) -> None:
    path = write(tmp_path, "bad.md", content)
    with pytest.raises(KnowledgeFileError, match=words) as caught:
        read_knowledge(path)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


PAGE = """<!doctype html><html><head><title>Help &ndash; Bank</title>
<link rel="canonical" href="https://bank.example/help"><style>p {}</style></head>
<body><header><h1>The Bank</h1></header><nav><a>Home</a></nav>
<main><header><h1>Lost cards</h1></header>
<p>Freeze it<br>at <b>once</b> &amp; call.<script>evil()</script>
<h2>Then</h2><ul><li><p>one</p><li>two</ul>
<table><tr><th>a<td>b</table>
<form><button>Send</button></form>
</main><footer>Imprint</footer></body></html>"""


def test_html_keeps_the_article_and_drops_the_frame(tmp_path: Path) -> None:
    assert one(write(tmp_path, "lost.html", PAGE)) == SourceDocument(
        "lost",
        "Lost cards",
        "Freeze it at once & call.\n\n## Then\n\n- one\n- two\n\na | b",
        url="https://bank.example/help",
    )


def test_html_without_a_heading_takes_the_title_of_the_page(tmp_path: Path) -> None:
    document = one(write(tmp_path, "x.htm", "<title>Fees</title><div>All <i>free</i>.</div>"))
    assert (document.title, document.text) == ("Fees", "All free.")


def test_a_page_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeFileError, match="no text"):
        read_knowledge(write(tmp_path, "x.html", "<nav>Home</nav><h1>Title</h1>"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_gives_one_document_for_each_row(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["Question", "Answer", "id", "topics"],
        ["How much? | What does it cost?", '"It is free, always."', "fees", "money"],
        ["Who are you?", "A bank.", "", ""],
    ]
    content = "\n".join(delimiter.join(row) for row in rows)
    assert read_knowledge(write(tmp_path, "faq.csv", content)) == [
        SourceDocument(
            "fees",
            "How much?",
            "It is free, always.",
            ("How much?", "What does it cost?"),
            labels={"topics": "money"},
        ),
        SourceDocument("faq-who-are-you", "Who are you?", "A bank.", ("Who are you?",)),
    ]


def test_an_answer_may_have_several_lines(tmp_path: Path) -> None:
    content = 'question,answer\nHow?,"First\n\nthen"\n'
    assert one(write(tmp_path, "faq.csv", content)).text == "First\n\nthen"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("", 1, "header"),
        ("q,a\nx,y\n", 1, "header"),
        ("question,answer\nWhy?,\n", 2, "needs a question and an answer"),
        ("question,answer\nWhy?,Because\n ,Because\n", 3, "needs a question"),
        ("question,answer\nWhy?,Because, well\n", 2, "more cells"),
        ('question,answer\nWhy?,"open\n', 2, "not CSV"),
        ("question,answer,id\nWhy?,So,A B\n", 2, "'A B'"),
    ],
)
def test_a_table_that_cannot_be_read_says_in_which_line(
    tmp_path: Path, content: str, line: int, words: str
) -> None:
    with pytest.raises(KnowledgeFileError, match=words) as caught:
        read_knowledge(write(tmp_path, "faq.csv", content))
    assert caught.value.line == line


def test_a_folder_is_read_with_all_below_it_in_the_order_of_paths(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "text b")
    write(tmp_path, "a/c.md", "text c")
    write(tmp_path, "a/faq.csv", "question,answer\nWhy?,So")
    write(tmp_path, ".hidden/d.md", "text d")
    write(tmp_path, "notes.txt", "not knowledge")
    ids = [document.document_id for document in read_knowledge(tmp_path)]
    assert ids == ["c", "faq-why", "b"]


def test_two_documents_of_one_id_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "text")
    second = write(tmp_path, "b/a.md", "text")
    with pytest.raises(KnowledgeFileError, match="'a' is taken") as caught:
        read_knowledge(tmp_path)
    assert caught.value.path == second


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeFileError, match="does not exist"):
        read_knowledge(tmp_path / "absent")
    with pytest.raises(KnowledgeFileError, match="no documents"):
        read_knowledge(tmp_path)
    with pytest.raises(KnowledgeFileError, match="kinds"):
        read_knowledge(write(tmp_path, "a.pdf", b"%PDF"))


def test_files_of_other_kinds_are_passed_over_by_name(tmp_path: Path) -> None:
    for name in ("a.md", "z.PDF", "b/notes.txt", ".hidden.txt", ".git/config"):
        write(tmp_path, name, "# A\n\nText.")
    assert passed_over(tmp_path) == [tmp_path / "b" / "notes.txt", tmp_path / "z.PDF"]
    assert passed_over(tmp_path / "a.md") == []

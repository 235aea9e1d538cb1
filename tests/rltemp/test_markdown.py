"""What strangers write is shown as they wrote it, by a Markdown parser that is not ours."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rltemp import LearnedPolicy, LogitFeatures
from rltemp.markdown import escape_markdown
from rltemp.policies.card import render_card

HOSTILE = st.text(alphabet="ab 1.-+=#>*_`~|[]()!<>&;\\\n\r\t:/@$^w\u202e\x1b", max_size=30)
PARSER = MarkdownIt().enable(["table", "strikethrough"])


def shown(text: str) -> str:
    kept = "".join(character for character in text if character.isprintable() or character.isspace())
    return " ".join(kept.split())


def texts(tokens: Any) -> str:
    """The text of inline tokens, none of which may be more than text; empty comments cut addresses."""
    children = [child for token in tokens if token.type == "inline" for child in token.children or []]
    children = [child for child in children if not (child.type == "html_inline" and child.content == "<!-- -->")]
    assert {child.type for child in children} <= {"text", "text_special"}
    return "".join(child.content for child in children)


@given(HOSTILE | st.text())
def test_any_text_is_a_paragraph_that_says_the_same(text: str) -> None:
    tokens = PARSER.parse(escape_markdown(text))
    assert [token.type for token in tokens] in ([], ["paragraph_open", "inline", "paragraph_close"])
    assert texts(tokens) == shown(text)


@given(HOSTILE | st.text())
def test_any_text_is_a_cell_of_a_table(text: str) -> None:
    tokens = PARSER.parse(f"| a | b |\n| :-- | --: |\n| {escape_markdown(text)} | 2 |\n")
    assert sum(token.type == "td_open" for token in tokens) == 2
    assert texts(tokens) == f"ab{shown(text)}2"


@pytest.mark.parametrize(
    "text", ["T 8 → 2", "T = 4, scale 2", "rltemp/digits", "agent.learning_rate", "[+4.04, +5.07]", "+1.5"]
)
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert escape_markdown(text) == text


def test_addresses_and_names_are_cut_where_a_link_would_be_made_of_them() -> None:
    assert escape_markdown("http://e.com www.e.com @you") == "http:<!-- -->//e.com www<!-- -->.e.com @<!-- -->you"


def test_a_card_shows_what_it_was_told_and_no_more() -> None:
    evil = "x\n\n# Safe\n[click](http://e.com) <script> | `a` ![i](u)"
    card = {evil: evil, "training": {evil: evil, "inner": {"[k]": ["[a](b)", evil]}}}
    tokens = PARSER.parse(render_card(LearnedPolicy(LogitFeatures(), (4,), card=card)).split("---\n", 2)[2])
    plain = PARSER.parse(render_card(LearnedPolicy(LogitFeatures(), (4,), card={"e": "e"})).split("---\n", 2)[2])
    assert sum(token.type == "heading_open" for token in tokens) == sum(t.type == "heading_open" for t in plain) + 1
    for child in (child for token in tokens for child in token.children or []):
        assert child.type not in ("link_open", "image")
        assert child.type != "html_inline" or child.content == "<!-- -->"

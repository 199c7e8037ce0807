"""Lexical analysis: terms that survive any tokenizer, and match however a word is written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftos_memory.domain.lexical import lexical_terms, lexical_text, tokenize


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Running campaigns", ["run", "campaign"]),
        ("the and of", []),
        ("Café ÜBER ﬁne", ["cafe", "uber", "fine"]),
        ("SpringSale", ["springsal", "spring", "sale"]),
        ("spring_sale", ["springsal", "spring", "sale"]),
        ("spring-sale", ["spring", "sale"]),
        ("act_123456", ["act123456", "act", "123456"]),
        ("2024-W48", ["2024w48", "2024", "w48"]),
        ("BFCM2024", ["bfcm2024", "bfcm", "2024"]),
        ("x1y2z3", ["x1y2z3"]),
        ("東京", ["xe69db1", "xe4baac"]),
        ("кампания", ["x" + "кампания".encode().hex()]),
        ("", []),
        ("☃ -- ___", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    """A text gives exactly these terms."""
    assert lexical_terms(text) == terms


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("conversion", "Conversions rose"),
        ("ETE", "l'été"),
        ("e\u0301te\u0301", "été"),
        ("spring sale 2024", "Spring_Sale_2024"),
        ("SPRING_SALE_2024", "spring_sale_2024"),
        ("\uff33\uff41\uff4c\uff45", "sale"),
        ("123456", "campaign act_123456"),
        ("US", "Acme US"),
    ],
)
def test_query_meets_document(query: str, document: str) -> None:
    """Every term of the query is among those of the document."""
    assert set(lexical_terms(query)) <= set(lexical_terms(document))


@given(st.text())
def test_terms_survive_a_standard_tokenizer(text: str) -> None:
    """Splitting the joined terms at non-word characters, in lower case, gives them back."""
    assert re.findall(r"\w+", lexical_text(text).lower()) == lexical_terms(text)
    assert all(re.fullmatch(r"[a-z0-9]+", term) for term in lexical_terms(text))


@given(st.text(), st.text())
def test_texts_apart_are_analysed_apart(left: str, right: str) -> None:
    """What stands beyond a line break changes nothing."""
    assert lexical_terms(f"{left}\n{right}") == lexical_terms(left) + lexical_terms(right)


@given(st.text())
def test_tokens_cover_words_in_order(text: str) -> None:
    """Tokens do not overlap and hold every letter and digit of the text."""
    tokens = list(tokenize(text))
    ends = [0, *(token.end for token in tokens)]
    assert all(end <= token.start < token.end for end, token in zip(ends, tokens, strict=False))
    inside = {index for token in tokens for index in range(token.start, token.end)}
    assert {index for index, each in enumerate(text) if each.isalnum()} <= inside


@given(st.text(alphabet="abcDEF123_- é", max_size=30))
def test_case_of_plain_words_does_not_matter(text: str) -> None:
    """The upper-case form of a text without changes of case finds the lower-case one."""
    assert lexical_terms(text.upper()) == lexical_terms(text.upper().lower())

"""Sentences and icons in templates: safe themselves, and what is put into them is escaped."""

from html import unescape

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from app.html import environment, svg_icon, translated

VALUES = st.text(alphabet="<>&'\"%(){}sabc", max_size=20)


@given(value=VALUES)
def test_a_value_of_a_sentence_is_escaped_once(value: str) -> None:
    said = translated("<b>%(name)s</b>", name=value)
    assert isinstance(said, Markup)
    inner = said.removeprefix("<b>").removesuffix("</b>")
    assert not set(inner) & set("<>\"'")
    assert unescape(inner) == value


@given(value=VALUES)
def test_a_template_says_a_sentence_as_the_function_does(value: str) -> None:
    template = environment().from_string(
        "{% for each in [1] %}{{ _('by %(name)s', name=name) }}{% endfor %}"
    )
    assert template.render(name=value) == translated("by %(name)s", name=value)


def test_a_sentence_without_values_may_hold_a_percent_sign() -> None:
    assert translated("100 % of it") == "100 % of it"


def test_the_name_of_an_icon_is_escaped() -> None:
    assert "<script" not in svg_icon('"><script>')

"""Bad input names the field, what was wrong and the mend."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.core.brief import Brief
from arauto.core.door import clean_text, from_data, from_json, has_control
from arauto.core.errors import BriefError, InputError
from arauto.core.events import EventBatch


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b"{}", "product", "missing"),
        (b'{"product": "x", "prodct": 1}', "prodct", "not a known field"),
        (b'{"product": 3}', "product", "expected `str`"),
        (b'{"product": "x", "claims": [{"text": "a"}, {"txt": "a"}]}', "claims[1].txt", "not a known field"),
        (b'{"product": "x", "brand": {"name": "A", "colours": ["red"]}}', "brand.colours[0]", "regex"),
        (b'{"product": "x"', "$", "not JSON"),
        (b"\xff\xfe", "$", "not JSON"),
    ],
)
def test_the_field_and_the_fault_are_named(body, field, words):
    with pytest.raises(BriefError) as caught:
        from_json(body, Brief, error=BriefError)
    assert caught.value.field == field
    assert words in caught.value.problem
    assert caught.value.mend


def test_an_unknown_field_at_the_root_lists_the_known_ones():
    with pytest.raises(InputError) as caught:
        from_data({"product": "x", "price": 3}, Brief)
    assert "offer" in caught.value.mend


def test_an_item_of_a_batch_is_named_by_its_place():
    body = b'{"key": "k", "events": [{"type": "clik", "id": "0199c000-0000-7000-8000-000000000000", "at": 1}]}'
    with pytest.raises(InputError) as caught:
        from_json(body, EventBatch)
    assert caught.value.field == "events[0].type"
    assert caught.value.as_problem(0).index == 0


def test_text_is_stripped_and_control_characters_are_refused():
    assert clean_text("  olá\n", "tone") == "olá"
    for bad in ("a\x00b", "a\u202eb", "\x1b[31m", "a\u2066b"):
        assert has_control(bad)
        with pytest.raises(InputError, match=r"tone: holds the control character U\+"):
            clean_text(bad, "tone")


@given(st.binary(max_size=300))
def test_no_bytes_escape_the_door(body):
    with pytest.raises(InputError) as caught:
        from_json(body, EventBatch)
    assert caught.value.problem
    assert caught.value.mend


NOISE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(NOISE)
def test_no_data_escapes_the_door(data):
    with pytest.raises(InputError) as caught:
        from_data({"noise": data}, Brief)
    assert caught.value.field in ("noise", "product")

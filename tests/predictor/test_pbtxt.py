"""What is written as protocol buffers' text is read back, and what is not understood is refused with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.pbtxt import read, written

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)
SCALARS = TEXTS | st.integers(-(2**40), 2**40) | st.booleans()
MESSAGES = st.recursive(
    st.fixed_dictionaries({}, optional={"name": TEXTS, "count": st.integers(0, 9), "zero_data": st.booleans()}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "name": TEXTS,
            "kind": st.sampled_from(["KIND_AUTO", "KIND_CPU"]),
            "dims": st.lists(st.integers(-1, 99), min_size=1, max_size=3),
            "input": st.lists(inner, min_size=1, max_size=2),
            "parameters": st.dictionaries(TEXTS, inner | SCALARS, min_size=1, max_size=3),
            "reshape": inner,
        },
    ),
    max_leaves=6,
)


@given(MESSAGES)
def test_what_is_written_is_read_back(message):
    assert read(written(message)) == message


def test_an_empty_shape_is_one():
    assert read(written({"reshape": {"shape": []}})) == {"reshape": {"shape": []}}


def test_what_people_write_for_triton_is_read():
    text = """
    # by hand
    max_batch_size : 8
    input [ { name: "a" dims: 1 dims: 2 }, { name: "b" } ]
    input: { name: "c" }
    """
    assert read(text) == {"max_batch_size": 8, "input": [{"name": "a", "dims": [1, 2]}, {"name": "b"}, {"name": "c"}]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name", "line 1: found 'the end', needs a value"),
        ("name: <", "line 1: found '<', needs a field"),
        ('\nname: "a" name: "b"', "line 2: name must stand once"),
        ('name: ["a", "b"]', "line 1: name must stand once"),
        ('name: "a" "b"', "line 1: found '\"b\"', needs 'name'"),
        ("input { name: 1", "line 1: found 'the end', needs 'name'"),
        ("input [ { ]", "line 1: found ']', needs 'name'"),
        ("dims: [ 1 2 ]", "line 1: found '2', needs ','"),
        (r'name: "\x41"', "line 1: found '\"', needs a field"),
        ("parameters { key: 1 value: 2 }", "line 1: parameters is no map of key and value"),
        ('parameters { key: "a" }', "line 1: parameters is no map of key and value"),
        ('parameters { key: "a" value: 1 }' * 2, "line 1: parameters has 'a' twice"),
        ("}", "line 1: found '}', needs 'name'"),
        ("a { " * 20, "line 1: messages lie more than 12 deep"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text, said):
    with pytest.raises(ValueError) as refused:
        read(text)
    assert str(refused.value) == said

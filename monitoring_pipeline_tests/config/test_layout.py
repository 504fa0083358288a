"""Changing JSON text without touching what did not change."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.config.layout import laid_out, rewritten

BY_HAND = """\
{
    "orgId": "org-0", "note": "größer",
    "analyzers": [
        {"id": "a", "factor": 3.0, "tags": [ "x","y" ]},
        {"id": "b",
         "factor": 1e2}
    ],

    "monitors": []
}
"""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(old=values, new=values, indent=st.sampled_from([None, 1, 2, "\t"]), ascii_only=st.booleans())
def test_the_text_always_says_what_it_was_given(
    old: object, new: object, indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(old, indent=indent, ensure_ascii=ascii_only)
    assert json.loads(rewritten(text, new)) == new
    assert rewritten(text, old) == text


@given(old=values, indent=st.sampled_from([2, 4, "\t"]))
def test_text_of_a_program_is_what_the_program_would_write(old: object, indent: int | str) -> None:
    document = {"analyzers": [{"id": "a", "config": old}, {"id": "b"}], "x": old}
    changed = {**document, "analyzers": [{"id": "a", "config": old, "disabled": True}, {"id": "b"}]}

    text = rewritten(json.dumps(document, indent=indent, ensure_ascii=False), changed)

    assert text == json.dumps(changed, indent=indent, ensure_ascii=False)


def test_only_the_lines_of_the_change_differ() -> None:
    data = json.loads(BY_HAND)
    data["analyzers"][1]["disabled"] = True

    before, after = BY_HAND.splitlines(), rewritten(BY_HAND, data).splitlines()

    assert [line for line in after if line not in before] == [
        '         "factor": 1e2,',
        '         "disabled": true}',
    ]
    assert [line for line in before if line not in after] == ['         "factor": 1e2}']


def test_a_new_entry_is_written_like_its_neighbours() -> None:
    text = '{\n  "monitors": [\n    {"id": "m", "mode": {"type": "DIGEST"}}\n  ]\n}\n'
    data = json.loads(text)
    data["monitors"].append({"id": "n", "mode": {"type": "EVERY_ANOMALY"}})

    assert rewritten(text, data).splitlines()[2:4] == [
        '    {"id": "m", "mode": {"type": "DIGEST"}},',
        '    {"id": "n", "mode": {"type": "EVERY_ANOMALY"}}',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1,"b":[]}', '{"a":1,"b":[2,3]}'),
        (
            '\ufeff{\r\n\t"a": 1,\r\n\t"b": 1\r\n}\r\n',
            '\ufeff{\r\n\t"a": 1,\r\n\t"b": [\r\n\t\t2,\r\n\t\t3\r\n\t]\r\n}\r\n',
        ),
        ('{"b": NaN, "a": 1}', '{"b": [2, 3], "a": 1}'),
    ],
)
def test_line_ends_marks_and_compact_text_stay(text: str, expected: str) -> None:
    assert rewritten(text, {"a": 1, "b": [2, 3]}) == expected


def test_a_removed_entry_takes_its_comma_along() -> None:
    data = json.loads(BY_HAND)
    del data["analyzers"][1]

    assert '        {"id": "a", "factor": 3.0, "tags": [ "x","y" ]}\n    ],' in rewritten(BY_HAND, data)


def test_a_new_file_is_indented_by_two() -> None:
    assert laid_out({"a": ["ö"]}) == '{\n  "a": [\n    "ö"\n  ]\n}\n'


def test_of_a_repeated_key_nothing_is_left_but_the_last() -> None:
    assert json.loads(rewritten('{"b": 2, "a": 1, "a": 3, "c": 4}', {"b": 2, "c": 4})) == {"b": 2, "c": 4}
    assert rewritten('{"b": 2, "a": 1, "a": 3}', {"b": 1, "a": 3}) == '{"b": 1, "a": 3}'

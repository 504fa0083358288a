"""A segment's key survives any value, and is the same however its tags were ordered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.segments import OVERALL, segment_key, segment_label, segment_tags

ANY_TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"])) | st.text("%&=2536D")
TAGS = st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=4)


@given(TAGS)
def test_tags_read_back_as_they_were_written(tags: dict[str, str]):
    assert segment_tags(segment_key(tags)) == tags


@given(TAGS, TAGS)
def test_two_segments_have_the_same_key_only_if_they_are_the_same(one: dict[str, str], other: dict[str, str]):
    assert (segment_key(one) == segment_key(other)) == (one == other)


@given(TAGS, st.randoms())
def test_the_order_of_tags_does_not_matter(tags: dict[str, str], random: object):
    assert segment_key(dict(reversed(tags.items()))) == segment_key(tags)


@given(TAGS)
def test_a_key_is_canonical(tags: dict[str, str]):
    key = segment_key(tags)
    assert segment_key(segment_tags(key)) == key


def test_keys_are_readable():
    assert segment_key({"region": "EU", "channel": "web"}) == "channel=web&region=EU"
    assert segment_key({"a&b": "50%=half"}) == "a%26b=50%25%3Dhalf"
    assert segment_label("channel=web&region=EU") == "channel=web, region=EU"


def test_the_overall_segment_has_no_tags():
    assert segment_key({}) == OVERALL == ""
    assert segment_tags("") == {}
    assert segment_label("") == "all data"


@pytest.mark.parametrize("key", ["EU", "region", "a=b&EU"])
def test_text_that_is_no_key_says_what_a_key_looks_like(key: str):
    with pytest.raises(ValueError, match="region=EU"):
        segment_tags(key)

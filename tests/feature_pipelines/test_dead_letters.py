"""Dead letters keep the reason and the very bytes, and no interrupted batch leaves one twice or half."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.dead_letters import DeadLetter, DeadLetterFile
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.small import file_of, jsonl_of, pipeline

letters = st.lists(
    st.builds(DeadLetter, st.text(max_size=5), st.integers(0, 2**62), st.text(), st.binary()), max_size=5
)


@given(st.lists(letters, max_size=4))
def test_what_was_written_is_read_again_byte_for_byte(tmp_path_factory, batches):
    file = DeadLetterFile(tmp_path_factory.mktemp("d") / "further" / "letters.jsonl")
    at = 0
    for batch in batches:
        at = file.append(batch, at)
    assert file.read() == [letter for batch in batches for letter in batch]
    assert at == (file.path.stat().st_size if file.path.exists() else 0)


def test_text_stays_readable_and_other_bytes_are_base64(tmp_path):
    file = DeadLetterFile(tmp_path / "letters.jsonl")
    file.append([DeadLetter("p", 3, "why", 'a "ö"\t'.encode()), DeadLetter("p", 4, "why", b"\xff\n")], 0)
    assert [json.loads(line) for line in file.path.read_bytes().splitlines()] == [
        {"partition": "p", "offset": 3, "reason": "why", "text": 'a "ö"\t'},
        {"partition": "p", "offset": 4, "reason": "why", "base64": "/wo="},
    ]


@pytest.mark.parametrize("left_behind", [b"", b'{"half', b'{"partition":"p","offset":9}\n' * 3])
def test_what_an_interrupted_batch_left_is_dropped_by_the_next(tmp_path, left_behind):
    file = DeadLetterFile(tmp_path / "letters.jsonl")
    first, second = DeadLetter("p", 1, "why", b"1"), DeadLetter("p", 2, "why", b"2")
    at = file.append([first], 0)
    with file.path.open("ab") as interrupted:
        interrupted.write(left_behind)
    assert file.append([second], at) > at
    assert file.read() == [first, second]
    file.append([second], at)
    assert file.read() == [first, second]
    assert file.append([], at) == at
    assert file.read() == [first]


def test_a_file_that_was_taken_away_is_begun_anew(tmp_path):
    file = DeadLetterFile(tmp_path / "letters.jsonl")
    assert file.append([], 0) == 0
    assert not file.path.exists()
    letter = DeadLetter("p", 1, "why", b"1")
    at = file.append([letter], 0)
    file.path.unlink()
    assert file.append([letter], at) == at
    assert file.read() == [letter]


def test_a_store_writes_to_two_files_in_turn_and_keeps_the_letters_of_both(tmp_path):
    store = MemoryStore()
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for turn in range(4):
        row = {"card": None, "at": turn, "amount": 1.0, "note": ""}
        path = file_of(tmp_path, f"{turn}.jsonl", jsonl_of([row]))
        pipeline(path, store, letters=files[turn % 2]).run()
    assert [len(DeadLetterFile(path).read()) for path in files] == [2, 2]


def test_another_stores_letters_are_not_written_over(tmp_path):
    letters = tmp_path / "letters.jsonl"
    path = file_of(tmp_path, "a.jsonl", jsonl_of([{"card": None, "at": 1, "amount": 1.0, "note": ""}]))
    pipeline(path, MemoryStore(), letters=letters).run()
    with pytest.raises(ValueError, match=r"letters\.jsonl' are not empty and this store never wrote to them"):
        pipeline(path, MemoryStore(), letters=letters).run()
    assert len(DeadLetterFile(letters).read()) == 1

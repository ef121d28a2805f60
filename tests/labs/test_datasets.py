"""The check of datasets: which format, which line, which split; and no file can break it."""

import json
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labs import datasets, jsonl
from labs.contract import BadData
from labs.datasets import Example, Message

GOOD = '{"prompt": "a", "completion": "b"}'
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHARED = [
    {"from": "system", "value": "s"},
    {"from": "human", "value": "q"},
    {"from": "gpt", "value": "a"},
]


def write(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def rows(count: int, start: int = 0) -> list[str]:
    return [
        json.dumps({"prompt": f"p{i}", "completion": f"c{i % 7}"})
        for i in range(start, start + count)
    ]


def problems_of(path: Path) -> list[tuple[int, str]]:
    return [(problem.line, str(problem)) for problem in datasets.inspect(path).problems]


@pytest.mark.parametrize(
    ("row", "name", "prompt", "answer"),
    [
        ({"instruction": "i", "input": "x", "output": "a"}, "alpaca", "i\n\nx", "a"),
        ({"instruction": "i", "input": "", "output": "a"}, "alpaca", "i", "a"),
        ({"instruction": "i", "output": "a"}, "alpaca", "i", "a"),
        ({"instruction": "i", "context": "x", "response": "a"}, "dolly", "i\n\nx", "a"),
        ({"messages": TURNS}, "messages", "q", "a"),
        ({"conversations": SHARED}, "sharegpt", "q", "a"),
        ({"prompt": "q", "completion": "a"}, "prompt_completion", "q", "a"),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, "prompt_completion", "q", "a"),
        ({"text": "q", "label": "a"}, "text_label", "q", "a"),
        ({"sentence": "q", "label": 3}, "text_label", "q", "3"),
        ({"sentence1": "x", "sentence2": "y", "label": "a"}, "sentence_pair", "x\n\ny", "a"),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "preference", "q", "a"),
        (
            {"chosen": TURNS, "rejected": [TURNS[0], {**TURNS[1], "content": "b"}]},
            "preference",
            "q",
            "a",
        ),
    ],
)
def test_a_format_is_recognised_by_its_columns(
    tmp_path: Path, row: dict[str, Any], name: str, prompt: str, answer: str
) -> None:
    verdict = datasets.inspect(write(tmp_path / "data.jsonl", [json.dumps(row)]))
    assert verdict.format == name
    assert verdict.preview[0].prompt[-1] == Message("user", prompt)
    assert verdict.preview[0].answer == answer


def test_running_text_has_no_prompt(tmp_path: Path) -> None:
    verdict = datasets.inspect(write(tmp_path / "data.jsonl", ['{"text": "once"}']))
    assert (verdict.format, verdict.preview) == ("text", (Example((), "once"),))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{bad", "Not valid JSON at character 2"),
        ("[1, 2]", "not an object"),
        ('{"prompt": "a"}', "column “completion” is missing"),
        ('{"prompt": "a", "completion": 3}', "column “completion” is not text"),
        ('{"prompt": "a", "completion": "  "}', "answer is empty"),
        ('{"prompt": " ", "completion": "b"}', "prompt is empty"),
        ('{"prompt": "a\\u0000", "completion": "b"}', "NUL"),
        ('{"prompt": "\\ud800", "completion": "b"}', "surrogate"),
        ("[" * 100_000, "nested too deep"),
        ('{"prompt": 1' + "0" * 5000 + "}", "number too long"),
        ('{"text": "a"}', "this one is “Running text”"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str, words: str) -> None:
    path = write(tmp_path / "data.jsonl", [*rows(3), "", line, *rows(3, 10)])
    (number, sentence), *others = problems_of(path)
    assert (number, others) == (5, [])
    assert words in sentence


def test_bytes_that_are_not_utf8_are_named_by_position(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(f"{GOOD}\n".encode() + b'{"prompt": "\xff"}\n')
    assert problems_of(path)[0] == (
        2,
        "Byte 13 of the line is not UTF-8 (0xff). Save the file as UTF-8.",
    )


def test_utf16_is_recognised_and_a_utf8_mark_is_passed_over(tmp_path: Path) -> None:
    wide, marked = tmp_path / "wide.jsonl", tmp_path / "marked.jsonl"
    wide.write_bytes("\n".join(rows(5)).encode("utf-16"))
    marked.write_bytes(b"\xef\xbb\xbf" + "\n".join(rows(5)).encode())
    assert problems_of(wide)[0] == (0, "The file is UTF-16. Save it as UTF-8.")
    assert datasets.inspect(marked).ok


def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    with path.open("wb") as file:
        file.write(f"{GOOD}\n".encode())
        file.write(b'{"prompt": "')
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(f'"}}\n{GOOD}\n'.encode())
    tracemalloc.start()
    found = problems_of(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[0] == (2, "The line is longer than 4 MiB.")
    assert peak < 16 << 20


def test_problems_are_all_counted_but_few_are_listed(tmp_path: Path) -> None:
    verdict = datasets.inspect(write(tmp_path / "data.jsonl", ["{bad"] * 100))
    assert (len(verdict.problems), verdict.problem_count, verdict.ok) == (20, 100, False)


def test_one_label_for_all_rows_is_refused(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"t{i}", "label": "spam"}) for i in range(5)]
    assert problems_of(write(tmp_path / "data.jsonl", lines)) == [
        (0, "Every row has the label “spam”: there is nothing to learn.")
    ]


def test_equal_replies_are_no_preference(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "q", "chosen": "a", "rejected": "a "})
    found = problems_of(write(tmp_path / "data.jsonl", [row]))
    assert found[0] == (1, "The chosen and the rejected reply are the same.")


def test_many_repeated_rows_are_a_warning_and_most_are_a_problem(tmp_path: Path) -> None:
    some = datasets.inspect(write(tmp_path / "some.jsonl", [*rows(90), *rows(10)]))
    most = datasets.inspect(write(tmp_path / "most.jsonl", rows(10) * 4))
    assert some.ok
    assert str(some.warnings[0]) == "10 rows (10 %) repeat an earlier one."
    assert str(most.problems[0]) == "75 % of the rows repeat an earlier one."


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    assert problems_of(write(tmp_path / "data.jsonl", ["", " "])) == [(0, "The file has no rows.")]
    assert not datasets.inspect(tmp_path / "nothing").ok


def test_too_many_rows_are_refused(tmp_path: Path) -> None:
    verdict = datasets.inspect(write(tmp_path / "data.jsonl", rows(11)), max_rows=10)
    assert str(verdict.problems[0]) == "There are more than 10 rows."


def test_a_file_is_split_the_same_way_every_time_without_overlap(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", [*rows(100), *rows(100)[:20]])
    splits = datasets.read_splits(path)
    prompts = [{e.prompt for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in prompts] == [80, 10, 10]
    assert not prompts[0] & prompts[1]
    assert not prompts[0] & prompts[2]
    assert not prompts[1] & prompts[2]
    assert datasets.read_splits(path) == splits
    assert datasets.read_splits(path, seed=1) != splits
    assert datasets.inspect(path).splits == {
        "train": len(splits.train),
        "validation": len(splits.validation),
        "test": len(splits.test),
    }


def test_the_split_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    forth = datasets.read_splits(write(tmp_path / "forth.jsonl", rows(50)))
    back = datasets.read_splits(write(tmp_path / "back.jsonl", reversed(rows(50))))
    assert set(forth.test) == set(back.test)


def test_a_folder_keeps_its_own_splits_and_a_leak_is_told(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows(8))
    write(tmp_path / "validation.jsonl", rows(2, 8))
    write(tmp_path / "test.jsonl", rows(2, 7))
    verdict = datasets.inspect(tmp_path)
    assert verdict.splits == {"train": 8, "validation": 2, "test": 2}
    assert any("2 prompts stand in more than one split" in str(w) for w in verdict.warnings)
    assert len(datasets.read_splits(tmp_path).train) == 8


def test_a_folder_must_have_all_three_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows(8))
    assert problems_of(tmp_path) == [(0, "The folder lacks validation.jsonl, test.jsonl.")]


def test_numbered_labels_take_their_names_from_dataset_json(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write(
            tmp_path / f"{split}.jsonl", ['{"text": "a", "label": 1}', '{"text": "b", "label": 0}']
        )
    (tmp_path / "dataset.json").write_text('{"labels": ["bad", "good"]}', encoding="utf-8")
    assert [e.answer for e in datasets.read_splits(tmp_path).train] == ["good", "bad"]


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", rows(5))
    second = write(tmp_path / "b.jsonl", rows(5))
    other = write(tmp_path / "c.jsonl", rows(6))
    assert datasets.inspect(first).sha256 == datasets.fingerprint(second)
    assert datasets.inspect(first).sha256 != datasets.inspect(other).sha256


def test_reading_a_bad_dataset_says_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", [GOOD, "{bad"])
    with pytest.raises(BadData, match=r"data\.jsonl, line 2: Not valid JSON"):
        datasets.read_splits(path)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_can_break_the_check(content: bytes) -> None:
    _check(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
COLUMNS = st.sampled_from(
    [
        "messages",
        "conversations",
        "chosen",
        "rejected",
        "prompt",
        "completion",
        "text",
        "label",
        "instruction",
        "input",
        "output",
        "response",
        "context",
        "sentence1",
        "sentence2",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(COLUMNS, VALUES, max_size=6), max_size=4))
def test_no_values_in_known_columns_can_break_the_check(found: list[dict[str, Any]]) -> None:
    _check("\n".join(json.dumps(row) for row in found).encode())


def _check(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.jsonl"
        path.write_bytes(content)
        verdict = datasets.inspect(path)
        assert verdict.ok == (verdict.problem_count == 0)
        json.dumps([str(problem) for problem in verdict.problems]).encode()
        if verdict.ok:
            assert len(datasets.read_splits(path).train) == verdict.splits["train"]


def test_rows_are_read_with_the_line_they_stand_on(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", ["", GOOD, "", GOOD])
    assert [row.line for row in jsonl.read_rows(path)] == [2, 4]

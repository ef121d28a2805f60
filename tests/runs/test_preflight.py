"""What would fail after an hour's wait fails at the form: rows in tokens, room, model and data."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidInput, Unavailable
from app.runs.preflight import check, check_disk
from app.runs.preflight.room import disk_bytes
from app.runs.preflight.rows import SAMPLED_ROWS
from app.runs.preflight.tokens import RowLength, row_tokenizer
from app.runs.submit import Outlook, look
from app.settings import ROOT, get_settings
from labs import bundled
from labs.common.formatting import _fitted, encode
from labs.common.loading import load_tokenizer
from labs.datasets import Example, fingerprint, read_splits
from labs.formats import Message
from labs.jsonl import LINE_LIMIT
from labs.models import read_facts
from labs.peft.lora.spec import LAB, LoraParams
from tests.runs.conftest import TOKENIZER_CONFIG, Library
from tests.support.factories import make_device

WHOLE = 32_768


def outlook(library: Library, **values: Any) -> Outlook:
    return look(library.session, library.student, library.submission(**values))


def warnings(library: Library, **values: Any) -> list[str]:
    told = outlook(library, **values).estimate["warnings"]
    return [each["message"].format(**each["values"]) for each in told]


def errors(library: Library, **values: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        outlook(library, **values)
    return {error.field: str(error) for error in refused.value.errors}


def write_rows(library: Library, *rows: dict[str, Any]) -> None:
    """Put other rows into the dataset, as if they had been added so."""
    path = Path(library.dataset.path)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    library.dataset.bytes = path.stat().st_size
    library.dataset.sha256 = fingerprint(path)
    library.session.flush()


def pair(prompt: str, completion: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": completion}


def configure(library: Library, **changes: Any) -> None:
    path = Path(library.model.path) / "tokenizer_config.json"
    path.write_text(json.dumps({**TOKENIZER_CONFIG, **changes}))


@pytest.mark.parametrize("name", sorted(bundled.datasets()))
def test_rows_are_counted_as_the_trainer_encodes_them(name: str) -> None:
    model = bundled.models()["base"]
    tokenizer, ours = load_tokenizer(model), row_tokenizer(model)
    assert ours is not None
    for example in read_splits(bundled.datasets()[name]).train[:50]:
        whole = encode(tokenizer, example, WHOLE)
        found = ours.measure(example)
        assert (found.prompt, found.total) == (whole.prompt_length, len(whole.ids))


@pytest.mark.parametrize("kept", ["bos_token", "no template", "list of templates"])
def test_other_tokenizers_are_followed_too(tmp_path: Path, kept: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundled.models()["base"], folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    if kept == "list of templates":
        config["chat_template"] = [
            {"name": "default", "template": template}, {"name": "tool_use", "template": "x"},
        ]  # fmt: skip
    if kept == "bos_token":
        config |= {"bos_token": "<|endoftext|>"}
    path.write_text(json.dumps(config))
    ours = row_tokenizer(folder)
    assert ours is not None
    for example in (
        Example((Message("system", "Be short."), Message("user", "What?")), "<|im_end|>x"),
        Example((Message("user", "誰？"),), "沒有人"),
        Example((), "Only a text."),
    ):
        whole = encode(load_tokenizer(folder), example, WHOLE)
        found = ours.measure(example)
        assert (found.prompt, found.total) == (whole.prompt_length, len(whole.ids))


@given(st.integers(0, 60), st.integers(1, 60), st.integers(8, 40))
def test_what_is_left_to_learn_is_what_the_trainer_leaves(
    prompt: int, answer: int, limit: int
) -> None:
    cut = _fitted((1,) * prompt, (2,) * answer, limit)
    assert RowLength(prompt, answer, 0, 0).targets(limit) == cut.targets


def test_rows_beyond_the_maximum_length_are_told(library: Library) -> None:
    write_rows(library, pair("a" * 20, "b"), pair("a", "b"), pair("b", "a"))
    (told,) = warnings(library, params={"max_length": 16})
    assert told == (
        "33 % of the sampled rows are longer than 16 tokens and lose the beginning of their "
        "prompt; the longest has 22."
    )
    assert warnings(library, params={"max_length": 22}) == []


def test_answers_that_lose_their_end_or_their_prompt_are_told(library: Library) -> None:
    write_rows(library, pair("a", "b" * 40), pair("b", "a"))
    told = warnings(library, params={"max_length": 16})
    assert told[1:] == [
        "In 50 % of them nothing of the prompt is left: the answer fills the row.",
        "In 50 % of them the answer itself loses its end.",
    ]


def test_unknown_tokens_are_told(library: Library) -> None:
    write_rows(library, pair("aaaaaaaxxx", "b"))
    assert warnings(library) == ["25 % of the tokens are unknown to the tokenizer of “small”."]


def test_rows_that_leave_nothing_to_learn_are_refused(library: Library) -> None:
    rows = [json.dumps({"text": text}) + "\n" for text in ("<end>", "<end>")]
    Path(library.dataset.path).write_text("".join(rows))
    tokens = Path(library.model.path) / "tokenizer.json"
    words = json.loads(tokens.read_text())
    words["pre_tokenizer"] = None
    tokens.write_text(json.dumps(words))
    library.dataset.format = "text"
    library.dataset.bytes = Path(library.dataset.path).stat().st_size
    library.dataset.sha256 = fingerprint(Path(library.dataset.path))
    library.session.flush()
    assert "no sampled row of “letters” (all) keeps anything" in errors(library)["max_length"]


def test_a_row_that_the_template_refuses_is_named(library: Library) -> None:
    configure(library, chat_template="{{ raise_exception('no system here.') }}")
    assert errors(library)["dataset"] == (
        "The chat template of “model” refuses line 1 of rows.jsonl: no system here."
    )


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("tokenizer.json", "{}", "cannot be read: tokenizer.json"),
        ("tokenizer_config.json", '{"chat_template": "{% if %}"}', "cannot be read: chat_template"),
    ],
)
def test_a_damaged_tokenizer_is_refused(
    library: Library, file: str, content: str, part: str
) -> None:
    (Path(library.model.path) / file).write_text(content)
    assert part in errors(library)["base_model"]


def test_a_tokenizer_of_another_model_is_refused(library: Library) -> None:
    path = Path(library.model.path) / "tokenizer.json"
    words = json.loads(path.read_text())
    words["model"]["vocab"]["a"] = 99
    path.write_text(json.dumps(words))
    assert "gives the token 99, but the model knows only 16" in errors(library)["base_model"]


def test_a_template_runs_in_a_sandbox(library: Library) -> None:
    configure(library, chat_template="{{ ''.__class__.__mro__[1].__subclasses__() }}")
    assert "refuses line 1" in errors(library)["dataset"]


def test_a_model_that_only_transformers_reads_is_told_and_taken(library: Library) -> None:
    folder = Path(library.model.path)
    (folder / "tokenizer.json").rename(folder / "vocab.json")
    assert warnings(library) == [
        "The rows were not counted in tokens: “small” has no tokenizer.json."
    ]


def test_a_bad_row_is_named(library: Library) -> None:
    path = Path(library.dataset.path)
    write_rows(library, pair("a", "b"), {"prompt": "a"})
    assert errors(library)["dataset"] == (
        f"{path.name}, line 2: The columns fit no known format: prompt."
    )


def test_a_head_for_labels_needs_rows_with_labels(library: Library) -> None:
    given = {"lab": "p_tuning_v2", "params": {"head": "classification", "max_length": 64}}
    told = errors(library, **given)
    assert list(told) == ["head"]
    assert "needs a dataset with labels" in told["head"]


def test_a_huge_dataset_is_sampled(library: Library) -> None:
    """Rows after the sample are not even parsed, and a long line ends it early."""
    path = Path(library.dataset.path)
    row = json.dumps(pair("a", "b")) + "\n"
    path.write_text(row * SAMPLED_ROWS + "not json\n")
    library.dataset.bytes = path.stat().st_size
    library.dataset.sha256 = fingerprint(path)
    assert warnings(library) == []
    long = json.dumps(pair("a" * (LINE_LIMIT // 2), "b")) + "\n"
    path.write_text(long + "not json\n")
    library.dataset.bytes = path.stat().st_size
    library.dataset.sha256 = fingerprint(path)
    assert "100 % of the sampled rows" in warnings(library)[0]


def test_the_same_length_with_other_rows_is_noticed(library: Library) -> None:
    path = Path(library.dataset.path)
    path.write_text('{"prompt": "b", "completion": "a"}\n')
    assert path.stat().st_size == library.dataset.bytes
    assert "is gone or has changed" in errors(library)["dataset"]


def test_a_file_that_was_only_touched_is_taken(library: Library) -> None:
    os.utime(library.dataset.path)
    assert outlook(library).estimate["memory_bytes"] > 0


def test_what_never_fits_is_refused_with_what_would(library: Library) -> None:
    params = {"batch_size": 512, "max_length": 2048}
    need = outlook(library, params=params).estimate["memory_bytes"]
    make_device(library.session, memory_bytes=need - 1)
    with pytest.raises(InvalidInput) as refused:
        library.submit(params=params)
    assert "One of these would fit:" in str(refused.value.errors[0])
    assert refused.value.alternatives
    for way in refused.value.alternatives:
        assert way["memory_bytes"] <= need - 1
        assert library.submit(params={**params, **way["changes"]}).memory_bytes <= need - 1


def test_each_alternative_says_whether_it_would_fit(library: Library) -> None:
    params = {"batch_size": 512, "max_length": 2048}
    free = outlook(library, params=params).estimate["alternatives"]
    assert {each["fits"] for each in free} == {True}, "without a device any may still come"
    needs = [each["memory_bytes"] for each in free]
    device = make_device(library.session)
    for size in (min(needs) - 1, min(needs), max(needs)):
        device.memory_bytes = size
        library.session.flush()
        told = outlook(library, params=params).estimate["alternatives"]
        assert [each["fits"] for each in told] == [each["memory_bytes"] <= size for each in told]


def test_where_no_single_change_is_enough_several_are_offered(library: Library) -> None:
    write_rows(library, *(pair("a" * 3000 + name, "b") for name in "ab"))
    params = {"batch_size": 512, "max_length": 2048}
    small = outlook(library, params={"batch_size": 1, "max_length": 2048}).estimate["memory_bytes"]
    make_device(library.session, memory_bytes=small + (1 << 20))
    with pytest.raises(InvalidInput) as refused:
        library.submit(params=params)
    names = [way["name"] for way in refused.value.alternatives]
    assert "small_batch" in names
    for way in refused.value.alternatives:
        run = library.submit(params={**params, **way["changes"]})
        assert run.memory_bytes <= small + (1 << 20)


def test_a_run_that_would_fill_the_disk_is_refused(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.session.flush()
    checked = check(library.session, library.student, library.submission())
    need = disk_bytes(checked.lab, checked.start.facts, checked.params)
    disk = shutil.disk_usage(library.dataset.path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)  # others write at the same time
    # Enough to start with, not enough for what the run would leave.
    monkeypatch.setenv("BUNSEN_MIN_FREE_BYTES", str(disk.free - need // 2))
    get_settings.cache_clear()
    with pytest.raises(Unavailable, match="checkpoints and artifacts"):
        check_disk(checked)


def test_what_a_run_leaves_grows_with_what_it_trains() -> None:
    facts = read_facts(bundled.models()["base"])
    sizes = [disk_bytes(LAB, facts, LoraParams(rank=rank)) for rank in (1, 8, 64)]
    assert sizes == sorted(sizes)
    assert sizes[0] > facts.bytes


def test_tokenising_loads_no_torch() -> None:
    code = (
        "from pathlib import Path; import sys\n"
        "from app.runs.preflight.tokens import row_tokenizer\n"
        "from labs import bundled\n"
        "from labs.datasets import read_splits\n"
        "ours = row_tokenizer(bundled.models()['base'])\n"
        "ours.measure(read_splits(bundled.datasets()['tickets']).train[0])\n"
        "print(sorted({'torch', 'transformers', 'peft'} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr

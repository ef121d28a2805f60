"""Real runs of the distillation lab on tiny models: what they leave, refuse, and go on with."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from labs import trainer
from labs.common import latency
from labs.compression.distillation.cutting import cut
from labs.compression.distillation.labels import load_lesson
from labs.compression.distillation.spec import LAB, DistillationParams
from labs.compression.distillation.stages import distill
from labs.compression.distillation.teacher import Evidence, Known
from labs.contract import Json, Stopped
from labs.gguf.llama import Llama
from labs.runspec import Resource, RunSpec, write_params
from labs.trainer import Outcome, StopFlag
from tests.labs.runs import events_of, losses, make_context, make_spec
from tests.labs.tiny import make_network, make_tokenizer

STAGES = ("setup", "prepare_data", "distill", "inference", "deploy")
GIVEN: Json = {
    "teacher_steps": 40, "teacher_learning_rate": 5e-3, "learning_rate": 5e-3, "batch_size": 8,
    "labelled_rows": 30, "unlabelled_rows": 20, "top_k": 8, "gguf": "f16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finished:
    """A run through all stages, and what it was made of."""

    folder: Path
    student: Path
    teacher: Path
    dataset: Path
    outcome: Outcome

    @property
    def taught(self) -> Path:
        """The teacher after its fine-tuning."""
        return self.folder / "artifacts" / "teacher"

    def spec(self, params: Json, attempt: int = 1, stages: tuple[str, ...] = STAGES) -> RunSpec:
        return spec_of(self.student, self.dataset, self.teacher, params, attempt, stages)


def spec_of(
    student: Path, dataset: Path, teacher: Path, params: Json, attempt: int, stages: tuple[str, ...]
) -> RunSpec:
    named = {"teacher": Resource("teacher", str(teacher))}
    given = {**GIVEN, **params}
    return make_spec(student, dataset, given, stages, attempt, lab="distillation", resources=named)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    home = tmp_path_factory.mktemp("distillation")
    teacher = make_network(seed=3)
    for name, model in (("teacher", teacher), ("student", cut(make_network(seed=4), [0]))):
        model.save_pretrained(home / name)
        make_tokenizer().save_pretrained(home / name)
    dataset = home / "letters.jsonl"
    pairs = itertools.product("abc", range(10, 50))
    lines = (json.dumps({"prompt": f"{3 * x}{i}{4 * x}", "completion": x}) for x, i in pairs)
    dataset.write_text("\n".join(lines), encoding="utf-8")
    folder = home / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "GENERATIONS", 3)
        spec = spec_of(home / "student", dataset, home / "teacher", {}, 1, STAGES)
        write_params(folder, spec)
        outcome = trainer.run_attempt(folder, StopFlag())
        yield Finished(folder, home / "student", home / "teacher", dataset, outcome)


def names(folder: Path, kind: str) -> set[str]:
    return {event["name"] for event in events_of(folder, kind)}


def test_it_goes_through_all_stages_and_leaves_what_it_promises(run: Finished) -> None:
    assert run.outcome == Outcome("succeeded"), run.outcome.traceback
    done = [e["stage"] for e in events_of(run.folder, "stage") if e["status"] == "completed"]
    assert done == list(STAGES)
    assert names(run.folder, "artifact") == set(LAB.produces)
    kinds = {e["name"]: e["artifact_kind"] for e in events_of(run.folder, "artifact")}
    assert kinds["student"] == "model"
    card = (run.folder / "artifacts" / "student" / "README.md").read_text()
    assert str(run.student.parent) not in card


def test_it_shows_what_its_page_promises(run: Finished) -> None:
    assert names(run.folder, "table") == {
        "data", "models", "teacher_check", "lesson", "quality", "latency", "merge", "sizes"
    }  # fmt: skip
    assert names(run.folder, "samples") == {"masks", "soft_labels", "side_by_side"}
    assert names(run.folder, "plot") == {
        "teacher_training", "size_quality", "speed_quality", "size_speed"
    }  # fmt: skip
    logged = {key for event in events_of(run.folder, "metrics") for key in event["values"]}
    inner = {"distill/hidden_loss", "distill/relation_loss"}
    assert logged == {metric.key for metric in LAB.metrics} - inner


def test_both_students_take_the_same_steps_from_the_same_start(run: Finished) -> None:
    metrics = events_of(run.folder, "metrics")
    steps = {
        key: [event["step"] for event in metrics if key in event["values"]]
        for key in ("train/loss", "alone/train_loss", "eval/loss", "alone/loss")
    }
    assert steps["train/loss"] == steps["alone/train_loss"] == [1, 2, 3, 4]
    assert steps["eval/loss"] == steps["alone/loss"] == [0, 2, 4]
    first = {k: v for e in metrics if e["step"] == 0 for k, v in e["values"].items()}
    assert first["eval/loss"] == first["alone/loss"]


def test_the_true_answers_of_unlabelled_rows_are_not_looked_at(run: Finished) -> None:
    lesson = load_lesson(run.folder / "artifacts" / "soft_labels")
    assert (lesson.labelled, len(lesson.rows)) == (30, 50)
    teacher = AutoModelForCausalLM.from_pretrained(run.taught)
    row = lesson.rows[-1]
    ids = torch.tensor([row.ids])
    with torch.no_grad():
        said = teacher(input_ids=ids).logits.argmax(-1)[0, row.prompt_length - 1 : -1]
    assert said.tolist() == list(row.ids[row.prompt_length :])


def test_llama_cpp_says_what_the_student_says(run: Finished) -> None:
    student = AutoModelForCausalLM.from_pretrained(run.folder / "artifacts" / "student")
    prompt = [1, 40, 50, 60, 70]
    with torch.no_grad():
        first = int(student(input_ids=torch.tensor([prompt])).logits[0, -1].argmax())
    (file,) = (run.folder / "artifacts" / "gguf").glob("*.gguf")
    with Llama(file) as llama:
        assert llama.greedy(prompt, 1).ids[0] == first


def resumable(run: Finished, folder: Path) -> Path:
    """A run directory as it is after `prepare_data`."""
    for name in ("teacher", "soft_labels"):
        shutil.copytree(run.folder / "artifacts" / name, folder / "artifacts" / name)
    return folder


def stop_after(calls: int) -> Callable[[], bool]:
    count = itertools.count()
    return lambda: next(count) >= calls


def alone(folder: Path) -> dict[int, float]:
    return {
        event["step"]: event["values"]["alone/train_loss"]
        for event in events_of(folder, "metrics")
        if "alone/train_loss" in event["values"]
    }


INNER: Json = {"teacher_mode": "online", "hidden_weight": 1.0, "relation_weight": 1.0}


@pytest.mark.parametrize("changes", [{}, INNER], ids=["offline", "online"])
def test_a_stopped_distillation_goes_on_with_the_same_losses(
    run: Finished, tmp_path: Path, changes: Json
) -> None:
    spec = run.spec(changes)
    params = DistillationParams.model_validate(spec.params)
    whole, parts = (resumable(run, tmp_path / name) for name in ("whole", "parts"))
    distill(params, make_context(whole, spec))
    with pytest.raises(Stopped):
        distill(params, make_context(parts, spec, stop_after(3)))
    distill(params, make_context(parts, run.spec(changes, attempt=2)))
    assert losses(parts) == losses(whole)
    assert alone(parts) == alone(whole)
    assert set(losses(parts, attempt=2)) == {4}
    for name in ("student", "alone"):
        kept = [folder / "artifacts" / name / "model.safetensors" for folder in (whole, parts)]
        assert kept[0].read_bytes() == kept[1].read_bytes()
    if not changes:
        assert losses(whole) == losses(run.folder)


def test_a_student_of_layers_of_the_teacher_needs_no_student_model(
    run: Finished, tmp_path: Path
) -> None:
    folder = resumable(run, tmp_path / "cut")
    changes = {"student_from": "teacher_layers", "layers": "1,", "compare_alone": False}
    spec = run.spec(changes)
    distill(DistillationParams.model_validate(spec.params), make_context(folder, spec))
    kept = AutoModelForCausalLM.from_pretrained(folder / "artifacts" / "student")
    assert kept.config.num_hidden_layers == 1
    assert not (folder / "artifacts" / "alone").exists()


def test_an_untrained_teacher_is_refused(run: Finished, tmp_path: Path) -> None:
    stages = ("setup", "prepare_data")
    write_params(tmp_path, run.spec({"teacher_steps": 0}, stages=stages))
    outcome = trainer.run_attempt(tmp_path, StopFlag())
    assert outcome.outcome == "failed"
    assert "untrained" in outcome.message
    assert "teacher_check" in names(tmp_path, "table")


@pytest.mark.parametrize(
    ("teacher", "student", "told"),
    [
        (Known(3.0, 0.5), Known(4.0, 0.0), "untrained"),
        (Known(1.0, 0.1), Known(4.0, 0.0), "no more than always"),
        (Known(1.0, 0.5), Known(0.9, 0.5), "no better than the student"),
        (Known(1.0, None), Known(0.9, None), "no better than the student"),
        (Known(1.0, 0.5), Known(0.9, 0.4), None),
        (Known(1.0, 0.5), Known(2.0, 0.5), None),
    ],
)
def test_a_teacher_is_judged_by_what_was_measured(
    teacher: Known, student: Known, told: str | None
) -> None:
    refusal = Evidence(teacher, student, frequencies=2.5, commonest=0.1).refusal()
    assert (refusal is None) if told is None else (told in str(refusal))

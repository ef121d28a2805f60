"""The distillation lab: what it is called, takes, does and leaves. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from labs.common.metrics import INFERENCE_METRICS, TRAINING_METRICS
from labs.common.params import TrainingParams, shown
from labs.compression.distillation.choosing import parse_layers
from labs.compression.distillation.refusals import refuse, refuse_together
from labs.contract import WHOLE_MODELS, Accepts, Lab, Metric, Source, Stage
from labs.footprint import BEST_BYTES, MOMENT_BYTES, TRAINED_BYTES, Device
from labs.formats import SUPERVISED
from labs.models import ModelFacts

StudentFrom = Literal["base", "teacher_layers"]
TeacherMode = Literal["offline", "online"]
Relations = Literal["attention_value", "query_key_value"]
Gguf = Literal["none", "f16", "q8_0", "q4_0", "q4_k_m"]
GRADIENT_BYTES = 4


class DistillationParams(TrainingParams):
    """A teacher, a student, and what the student is to imitate."""

    teacher: Annotated[
        str,
        Field(
            title="Teacher",
            min_length=1,
            max_length=255,
            description="The model that is imitated: from the library, or left by a run. It must have the student's vocabulary.",
            json_schema_extra={**shown(basic=True), "resource": "model"},
        ),
    ] = "base"
    teacher_steps: Annotated[
        int,
        Field(
            title="Fine-tuning of the teacher",
            ge=0,
            le=2000,
            description="Steps in which the teacher first learns the labelled rows, all its weights; 0 takes it as it is.",
            json_schema_extra=shown("optimizer steps", basic=True),
        ),
    ] = 40
    teacher_learning_rate: Annotated[
        float,
        Field(
            title="Learning rate of the teacher",
            gt=0,
            le=1,
            description="For the fine-tuning of the teacher; that of full fine-tuning.",
            json_schema_extra=shown(),
        ),
    ] = 3e-4
    student_from: Annotated[
        StudentFrom,
        Field(
            title="Student",
            description="The base model of the run, or chosen layers of the teacher itself.",
            json_schema_extra=shown(basic=True),
        ),
    ] = "base"
    layers: Annotated[
        str,
        Field(
            title="Layers of the teacher",
            max_length=2000,
            description="For a student made of the teacher: their numbers from 0, as in 0, 2; or one number: so many layers, evenly spaced.",
            json_schema_extra=shown(),
        ),
    ] = "2"
    labelled_rows: Annotated[
        int,
        Field(
            title="Labelled rows",
            ge=0,
            le=10_000_000,
            description="Training rows whose answer may be used; 0 for all of them. Of other rows only the prompt is read.",
            json_schema_extra=shown("rows", basic=True),
        ),
    ] = 64
    unlabelled_rows: Annotated[
        int,
        Field(
            title="Unlabelled rows",
            ge=0,
            le=10_000_000,
            description="Prompts out of the rest of the training rows that the teacher answers, at most.",
            json_schema_extra=shown("rows", basic=True),
        ),
    ] = 512
    temperature: Annotated[
        float,
        Field(
            title="Temperature",
            ge=1,
            le=10,
            description="Logits of teacher and student are divided by it: higher shows more of what the teacher holds for unlikely.",
            json_schema_extra=shown(basic=True),
        ),
    ] = 2.0
    soft_weight: Annotated[
        float,
        Field(
            title="Weight of soft labels",
            ge=0,
            le=1000,
            description="Weight of the divergence from the teacher's distribution, times the temperature squared.",
            json_schema_extra=shown(basic=True),
        ),
    ] = 1.0
    hard_weight: Annotated[
        float,
        Field(
            title="Weight of hard labels",
            ge=0,
            le=1000,
            description="Weight of the cross-entropy of the true answers, on labelled rows.",
            json_schema_extra=shown(basic=True),
        ),
    ] = 0.5
    hidden_weight: Annotated[
        float,
        Field(
            title="Weight of hidden states",
            ge=0,
            le=1000,
            description="Weight of the squared distance between hidden states, the student's through a learned projection. Needs the teacher online.",
            json_schema_extra=shown(),
        ),
    ] = 0.0
    relation_weight: Annotated[
        float,
        Field(
            title="Weight of relations",
            ge=0,
            le=1000,
            description="Weight of MiniLM's relations inside self-attention. Needs the teacher online.",
            json_schema_extra=shown(),
        ),
    ] = 0.0
    relations: Annotated[
        Relations,
        Field(
            title="Relations",
            description="Attention and value relations (MiniLM), or of queries, keys and values with themselves (MiniLMv2).",
            json_schema_extra=shown(),
        ),
    ] = "attention_value"
    relation_heads: Annotated[
        int,
        Field(
            title="Relation heads",
            ge=0,
            le=1024,
            description="Into how many heads queries, keys and values are cut for the relations; 0 takes as many as both models' heads allow.",
            json_schema_extra=shown("heads"),
        ),
    ] = 0
    relation_layer: Annotated[
        int,
        Field(
            title="Layer of the relations",
            ge=0,
            le=10_000,
            description="Layer of the teacher, counted from 1, that the student's last layer imitates; 0 for the last.",
            json_schema_extra=shown(),
        ),
    ] = 0
    teacher_mode: Annotated[
        TeacherMode,
        Field(
            title="Teacher at work",
            description="Offline: it speaks once and its soft labels are kept on disk. Online: it reads every batch again.",
            json_schema_extra=shown(),
        ),
    ] = "offline"
    top_k: Annotated[
        int,
        Field(
            title="Kept logits",
            ge=0,
            le=1_000_000,
            description="Offline: so many most likely tokens are kept for each position, all others as one; 0 keeps the whole distribution.",
            json_schema_extra=shown("tokens"),
        ),
    ] = 32
    compare_alone: Annotated[
        bool,
        Field(
            title="Student alone beside it",
            description="Train the same student for as many steps on the labelled rows alone.",
            json_schema_extra=shown(),
        ),
    ] = True
    gguf: Annotated[
        Gguf,
        Field(
            title="GGUF",
            description="Write the student as a file for llama.cpp as well, in this format.",
            json_schema_extra=shown(),
        ),
    ] = "none"
    steps: Annotated[int, TrainingParams.own("steps")] = 120
    learning_rate: Annotated[float, TrainingParams.own("learning_rate")] = 1e-3
    evaluation_interval: Annotated[int, TrainingParams.own("evaluation_interval")] = 30

    @field_validator("layers")
    @classmethod
    def _distinct(cls, value: str) -> str:
        try:
            parse_layers(value)
        except ValueError as wrong:
            raise ValueError(
                "name each layer once, from the lowest to the highest, or say how many, at least 1"
            ) from wrong
        return value

    @model_validator(mode="after")
    def _something_is_imitated(self) -> "DistillationParams":
        if not self.soft_weight + self.hidden_weight + self.relation_weight:
            raise ValueError(
                "nothing of the teacher is imitated: give soft labels, hidden states or relations a weight"
            )
        return self

    @model_validator(mode="after")
    def _inner_states_need_the_teacher(self) -> "DistillationParams":
        if self.teacher_mode == "offline" and (self.hidden_weight or self.relation_weight):
            raise ValueError(
                "hidden states and relations are not kept on disk: choose the teacher online, or set both weights to 0"
            )
        return self

    @model_validator(mode="after")
    def _rows_suffice(self) -> "DistillationParams":
        if self.teacher_steps and self.labelled_rows and self.labelled_rows < 2:
            raise ValueError("a teacher cannot be fine-tuned on one labelled row: take at least 2")
        return self

    def bits_per_weight(self, facts: ModelFacts) -> float:
        """Weights that are trained are kept in float32."""
        return 32.0

    def memory_beside(self, facts: ModelFacts, device: Device) -> dict[str, int]:
        """The student that learns alone has weights, gradients, moments and a best copy of its own."""
        if not self.compare_alone:
            return {}
        each = TRAINED_BYTES + GRADIENT_BYTES + MOMENT_BYTES + BEST_BYTES[device]
        return {"second_student": facts.parameters * each}


PACKAGE = "labs.compression.distillation"

LAB = Lab(
    slug="distillation",
    chapter="compression",
    title="Distillation: a small model learns from a large one",
    summary="Let a teacher answer what nobody has labelled, teach a small student its distributions, and compare with the same student without a teacher.",
    params=DistillationParams,
    stages=(
        Stage(
            "setup",
            "Setup",
            "Compare teacher and student, deal the labelled rows, and count what will be trained.",
            f"{PACKAGE}.stages:setup",
        ),
        Stage(
            "prepare_data",
            "Prepare data",
            "Fine-tune the teacher if asked, check what it knows, let it answer unlabelled prompts, and keep its soft labels.",
            f"{PACKAGE}.preparing:prepare_data",
        ),
        Stage(
            "distill",
            "Distill",
            "Train the student with the teacher and, for as many steps, without; keep the best state of each.",
            f"{PACKAGE}.stages:distill",
        ),
        Stage(
            "inference",
            "Inference",
            "Teacher, student alone and distilled student on the test split: quality, agreement, latency, size.",
            f"{PACKAGE}.inference:inference",
        ),
        Stage(
            "deploy",
            "Deploy",
            "Load the saved student as anybody would, prove that it says the same, and write it as GGUF if asked.",
            f"{PACKAGE}.stages:deploy",
        ),
    ),
    metrics=(
        *TRAINING_METRICS,
        Metric(
            "distill/soft_loss", "Loss of soft labels, times T²", "nats per target token", "lower"
        ),
        Metric("distill/hard_loss", "Loss of hard labels", "nats per target token", "lower"),
        Metric("distill/hidden_loss", "Distance of hidden states", "", "lower"),
        Metric("distill/relation_loss", "Loss of relations", "nats", "lower"),
        Metric(
            "alone/train_loss", "Training loss without teacher", "nats per target token", "lower"
        ),
        Metric("alone/loss", "Validation loss without teacher", "nats per target token", "lower"),
        Metric("alone/accuracy", "Exact answers without teacher", "fraction", "higher"),
        Metric("teacher/loss", "Validation loss of the teacher", "nats per target token", "lower"),
        Metric("teacher/accuracy", "Exact answers of the teacher", "fraction", "higher"),
        *INFERENCE_METRICS,
        Metric("test/alone_accuracy", "Exact answers of the student alone", "fraction", "higher"),
        Metric(
            "test/teacher_accuracy",
            "Exact answers of the teacher on the test split",
            "fraction",
            "higher",
        ),
        Metric("test/agreement", "Answers as the teacher's", "fraction", "higher"),
        Metric(
            "test/alone_agreement", "Answers as the teacher's, student alone", "fraction", "higher"
        ),
        Metric("test/answer_perplexity", "Perplexity of the answers", "", "lower"),
    ),
    accepts=Accepts(
        formats=SUPERVISED, parents=WHOLE_MODELS, refuse=refuse, refuse_together=refuse_together
    ),
    produces=("soft_labels", "teacher", "student", "alone", "gguf"),
    headline="eval/accuracy",
    default_model="student",
    default_dataset="tickets",
    sources=(
        Source("Hinton et al.", "Distilling the Knowledge in a Neural Network", 2015, "1503.02531"),
        Source("Kim & Rush", "Sequence-Level Knowledge Distillation", 2016, "1606.07947"),
        Source(
            "Sanh et al.",
            "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter",
            2019,
            "1910.01108",
        ),
        Source(
            "Jiao et al.",
            "TinyBERT: Distilling BERT for Natural Language Understanding",
            2019,
            "1909.10351",
        ),
        Source(
            "Wang et al.",
            "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
            2020,
            "2002.10957",
        ),
        Source(
            "Wang et al.",
            "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained Transformers",
            2020,
            "2012.15828",
        ),
    ),
    presets={
        "balanced": {},
        "all labels": {"labelled_rows": 0},
        "untrained teacher": {"teacher_steps": 0},
        "layers of the teacher": {"student_from": "teacher_layers", "layers": "0, 2"},
        "hidden states too": {"teacher_mode": "online", "hidden_weight": 1.0},
        "MiniLM": {"teacher_mode": "online", "relation_weight": 1.0},
    },
)

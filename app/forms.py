"""Forms made from a lab's `Params`: what a control needs to know, and text back to values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from app.errors import FieldError
from app.i18n import N_, gettext, number, sentence
from labs.contract import Params

# A form that shows every parameter says so with a field of this name.
COMPLETE = "complete"
CHOICE_WORDS = {
    "none": N_("None"),
    "constant": N_("Constant"),
    "linear": N_("Linear"),
    "cosine": N_("Cosine"),
    "auto": N_("Automatic"),
    "own": N_("This lab's code"),
    "channel": N_("Whole row"),
    "row": N_("One row"),
    "matrix": N_("Whole matrix"),
    "magnitude": N_("Magnitude"),
    "unstructured": N_("Unstructured"),
    "rtn": N_("Round to nearest"),
    "base": N_("Base model"),
    "teacher_layers": N_("Layers of the teacher"),
    "attention_value": N_("Attention and values"),
    "query_key_value": N_("Queries, keys and values"),
    "offline": N_("Offline"),
    "online": N_("Online"),
}
# Names, the same in every language.
CHOICE_NAMES = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "smoothquant": "SmoothQuant",
    "int8": "LLM.int8",
    "nf4": "NF4",
    "gptqmodel": "GPTQModel",
    "wanda": "Wanda",
    "sparsegpt": "SparseGPT",
    "llama_cpp": "llama.cpp",
    "vllm": "vLLM",
    "lora": "LoRA",
    "rslora": "rsLoRA",
    "dora": "DoRA",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One control. Rendered by the macros of macros/form.html."""

    name: str
    title: str
    kind: str = "text"
    value: str = ""
    help: str = ""
    unit: str = ""
    error: str = ""
    choices: Sequence[tuple[str, str]] = ()
    minimum: str | None = None
    maximum: str | None = None
    step: str = "any"
    placeholder: str = ""
    required: bool = False
    basic: bool = True


@dataclass(frozen=True, slots=True)
class Values:
    """What a form shows: texts by field name, and what is wrong with some of them."""

    texts: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[FieldError] = ()

    def put(self, field: Field) -> Field:
        """The field with its text and its error."""
        text = self.texts.get(field.name, field.value)
        return replace(field, value=text, error=self.error(field.name))

    def error(self, name: str) -> str:
        """What is wrong with the field of that name, or with the form when it is empty."""
        found = (sentence(e.message, e.values) for e in self.errors if e.field == name)
        return " ".join(found)


def param_fields(params: type[Params], values: Values) -> list[Field]:
    """A control for each parameter, in the order the class names them."""
    return [values.put(_field(name, schema)) for name, schema in _properties(params).items()]


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Stored or preset parameters as a form shows them."""
    return {name: as_text(value) for name, value in params.items()}


def param_values(params: type[Params], form: Mapping[str, str]) -> dict[str, Any]:
    """The parameters in a sent form. In a complete one, a box that is missing is not ticked."""
    return {
        name: _value(name, schema, form)
        for name, schema in _properties(params).items()
        if name in form or COMPLETE in form
    }


def as_text(value: Any) -> str:
    """A value as a person would type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(as_text, value))
    return str(value)


# Pydantic makes the schema anew each time, for longer than a page takes to be filled in.
@cache
def _properties(params: type[Params]) -> Mapping[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = params.model_json_schema()["properties"]
    return found


def _field(name: str, schema: Mapping[str, Any]) -> Field:
    kind = _type(schema)
    low, high = schema.get("minimum"), schema.get("maximum")
    return Field(
        name=name,
        title=gettext(schema.get("title", name)),
        kind=_control(kind),
        value=as_text(schema.get("default")),
        help=gettext(schema["description"]) if "description" in schema else "",
        unit=_unit(schema),
        choices=_choices(kind),
        minimum=None if low is None else as_text(low),
        maximum=None if high is None else as_text(high),
        step="1" if kind.get("type") == "integer" else "any",
        placeholder=gettext(N_("not set")) if _is_optional(schema) else "",
        basic=bool(schema.get("basic")),
    )


def _type(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of the value itself, where it may also be absent."""
    return next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)


def _is_optional(schema: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "null" for one in schema.get("anyOf", ()))


def _control(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "select"
    kinds = {"integer": "number", "number": "number", "boolean": "checkbox"}
    return kinds.get(schema.get("type", ""), "text")


def _choices(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(value), choice_title(str(value))) for value in schema.get("enum", ())]


def choice_title(value: str) -> str:
    """A value of a select as a person reads it: its word, its name, or itself."""
    if value in CHOICE_WORDS:
        return gettext(CHOICE_WORDS[value])
    return CHOICE_NAMES.get(value, value)


def _unit(schema: Mapping[str, Any]) -> str:
    unit = gettext(schema["unit"]) if schema.get("unit") else ""
    return " ".join(filter(None, (_range(_type(schema)), unit)))


def _range(schema: Mapping[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None or high is None or "enum" in schema:
        return ""
    above = ">" if "exclusiveMinimum" in schema else ""
    below = "<" if "exclusiveMaximum" in schema else ""
    return f"{above}{number(low, 6)} – {below}{number(high, 6)}"


def _value(name: str, schema: Mapping[str, Any], form: Mapping[str, str]) -> Any:
    if _type(schema).get("type") == "boolean":
        return form.get(name) == "true"
    text = form.get(name, "").strip()
    return None if not text and _is_optional(schema) else text

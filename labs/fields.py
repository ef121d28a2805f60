"""What a parameter allows, in words, and a person's input read through it. Imports no torch."""

import difflib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from labs.contract import Json, Params


def parse(params: type[Params], given: Json) -> tuple[Params | None, dict[str, str]]:
    """Parameters from a person's input, or what is wrong with each field.

    Returns:
        The parameters, or None and a sentence for each field; rules between fields stand
        under "".
    """
    try:
        return params.model_validate(given), {}
    except ValidationError as error:
        return None, {_field(e): _sentence(params, e) for e in error.errors()}


def allowed(params: type[Params], name: str) -> str:
    """What a parameter may be: “1 to 256”, “lora, rslora or dora”, “true or false”."""
    schema = params.model_json_schema()
    return _allowed(_resolved(schema, schema["properties"][name]))


def from_text(text: str) -> Any:
    """A value as a command line gives it: JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _field(error: Any) -> str:
    return str(error["loc"][0]) if error["loc"] else ""


def _sentence(params: type[Params], error: Any) -> str:
    name = _field(error)
    if error["type"] == "extra_forbidden":
        return _unknown(name, params.model_fields)
    if error["type"] == "value_error":
        return f"{str(error['ctx']['error']).capitalize()}."
    title = params.model_fields[name].title or name
    return f"{title}: {error['input']!r} does not fit; allowed is {allowed(params, name)}."


def _unknown(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3) or sorted(names)
    return f"There is no parameter “{name}”. Did you mean: {', '.join(near)}?"


def _resolved(schema: Json, node: Json) -> Json:
    reference = str(node.get("$ref", "")).rpartition("/")[2]
    return {**schema["$defs"][reference], **node} if reference else node


def _allowed(node: Json) -> str:
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_allowed(option) for option in node["anyOf"]))
    if "enum" in node:
        return _listed([str(value) for value in node["enum"]])
    match node.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number{_range(node)}"
        case "number":
            return f"a number{_range(node)}"
        case "array":
            numbers = node.get("items", {}).get("type") == "integer"
            return f"{'whole numbers' if numbers else 'names'}, separated by commas"
        case "null":
            return "nothing"
    return "text"


def _range(node: Json) -> str:
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    below = "below " if "exclusiveMaximum" in node else ""
    above = "above " if "exclusiveMinimum" in node else "from "
    parts = [
        f"{above}{low:g}" if low is not None else "",
        f"to {below}{high:g}" if high is not None else "",
    ]
    return "".join(f" {part}" for part in parts if part)


def _listed(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"

"""What a person names on a command line, as what a trainer is told. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labs import bundled, datasets
from labs.contract import Json, Lab, LabError, Params, ResourceKind, resource_kinds
from labs.fields import from_text, parse
from labs.models import read_facts
from labs.runspec import Resource


class WrongUse(LabError):
    """What was asked for cannot be done."""


def choose_params(lab: Lab, settings: Sequence[str], preset: str | None) -> Params:
    """Parameters out of a preset and `name=value` settings."""
    given = dict(_preset(lab, preset))
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise WrongUse("“{setting}” is not of the form name=value.", setting=setting)
        given[name.strip()] = _value(lab.params, name.strip(), value.strip())
    params, wrong = parse(lab.params, given)
    if params is None:
        raise WrongUse("{reasons}", reasons="\n".join(_named(n, s) for n, s in wrong.items()))
    return params


def _value(params: type[Params], name: str, text: str) -> Any:
    """A setting as a command line gives it; a parameter that is text is never read as a number."""
    field = params.model_fields.get(name)
    return text if field is not None and field.annotation is str else from_text(text)


def _named(name: str, sentence: str) -> str:
    return f"{name}: {sentence}" if name else sentence


def _preset(lab: Lab, name: str | None) -> Json:
    if name is None:
        return {}
    if name not in lab.presets:
        raise WrongUse(
            "There is no preset “{name}”. There are: {known}.",
            name=name,
            known=", ".join(lab.presets),
        )
    return lab.presets[name]


def choose_model(lab: Lab, params: Params, name: str) -> Resource:
    """A bundled model or a folder that the lab accepts with these parameters."""
    known = bundled.models()
    folder = known.get(name, Path(name).expanduser()).absolute()
    if not folder.is_dir():
        raise WrongUse(
            "There is no model “{name}”. Bundled are: {known}. Or name a folder.",
            name=name,
            known=", ".join(known) or "none",
        )
    refused = lab.accepts.refuse(read_facts(folder), params)
    if refused is not None:
        raise refused
    return Resource(folder.name, str(folder))


def choose_dataset(lab: Lab, params: Params, name: str) -> Resource:
    """A bundled dataset, a file or a folder that the lab accepts with these parameters."""
    known = bundled.datasets()
    path = known.get(name, Path(name).expanduser()).absolute()
    if not path.exists():
        raise WrongUse(
            "There is no dataset “{name}”. Bundled are: {known}. Or name a file or a folder.",
            name=name,
            known=", ".join(known) or "none",
        )
    _check_dataset(lab, params, path)
    return Resource(path.stem if path.is_file() else path.name, str(path))


def _check_dataset(lab: Lab, params: Params, path: Path) -> None:
    verdict = datasets.inspect(path)
    if not verdict.ok:
        reasons = "\n".join(f"  {p.file}, line {p.line}: {p}" for p in verdict.problems)
        raise WrongUse(
            "The dataset has {count} problems:\n{reasons}",
            count=verdict.problem_count,
            reasons=reasons,
        )
    if verdict.format not in lab.accepts.formats:
        raise WrongUse(
            "The dataset's format is “{found}”; this lab takes: {accepted}.",
            found=verdict.format,
            accepted=", ".join(sorted(lab.accepts.formats)),
        )
    refused = lab.accepts.refuse_format(verdict.format, params)
    if refused is not None:
        raise refused


def choose_resources(lab: Lab, params: Params, model: Resource) -> dict[str, Resource]:
    """What parameters name beside model and dataset: bundled ones, folders or files.

    Raises:
        LabError: For one that is not there, or does not go with the base model.
    """
    chosen = {
        parameter: _resource(parameter, kind, name)
        for parameter, kind in resource_kinds(lab.params).items()
        if (name := str(getattr(params, parameter)).strip())
    }
    folders = {parameter: Path(each.path) for parameter, each in chosen.items()}
    refused = lab.accepts.refuse_together(Path(model.path), params, folders)
    if refused is not None:
        raise refused
    return chosen


def _resource(parameter: str, kind: ResourceKind, name: str) -> Resource:
    known = bundled.models() if kind == "model" else bundled.datasets()
    path = known.get(name, Path(name).expanduser()).absolute()
    if not path.exists():
        raise WrongUse(
            "{parameter}: there is no {kind} “{name}”. Bundled are: {known}. Or name a folder.",
            parameter=parameter,
            kind=kind,
            name=name,
            known=", ".join(known) or "none",
        )
    return Resource(path.stem if path.is_file() else path.name, str(path))


def choose_stages(lab: Lab, names: str | None) -> tuple[str, ...]:
    """The asked-for stages in the lab's own order."""
    every = tuple(stage.name for stage in lab.stages)
    if names is None:
        return every
    wanted = {lab.stage(name.strip()).name for name in names.split(",") if name.strip()}
    return tuple(name for name in every if name in wanted)

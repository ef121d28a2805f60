"""Run the measurements that are named, or all, and write `benchmarks/RESULTS.md`."""

import sys

from benchmarks import (
    charts,
    claim,
    claims,
    class_day,
    compression,
    decision,
    dispatch,
    distillation,
    estimate,
    ingest,
    methods,
    page,
    queue_page,
    submit,
    web,
)
from benchmarks.report import write

MEASUREMENTS = {
    "charts": charts.measure,
    "claim": claim.measure,
    "claims": claims.measure,
    "class_day": class_day.measure,
    "compression": compression.measure,
    "decision": decision.measure,
    "dispatch": dispatch.measure,
    "distillation": distillation.measure,
    "estimate": estimate.measure,
    "ingest": ingest.measure,
    "page": page.measure,
    "queue_page": queue_page.measure,
    "submit": submit.measure,
    "web": web.measure,
    **methods.measurements(),
}


def main(names: list[str]) -> int:
    chosen = methods.chosen(names) or list(MEASUREMENTS)
    for name in chosen:
        if name not in MEASUREMENTS:
            print(f"No measurement “{name}”. There are: {', '.join(MEASUREMENTS)}.")
            return 2
    for name in chosen:
        rows = MEASUREMENTS[name]()
        for row in rows:
            print(f"{name}: {row.what}: {row.measured} (limit {row.limit}; {row.how})", flush=True)
        write({name: rows}, MEASUREMENTS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

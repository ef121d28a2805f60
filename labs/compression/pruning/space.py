"""What zeros save on a disk: nothing as they are stored, and what packing them could."""

import zlib
from pathlib import Path
from typing import Any

from labs.compression.common.quality import weight_file_bytes
from labs.compression.pruning.bench import Bench
from labs.compression.pruning.reports import read_reports
from labs.contract import N_, Column, Json
from labs.model_files import weight_files
from labs.models import read_facts

# Of the files of a model, so that many gigabytes do not take minutes.
MOST_DEFLATED = 64 << 20
CHUNK = 1 << 20
QUICK = 1
# A compressed sparse row names the input of each weight, and where each row begins.
INDEX_BYTES = 4


def show_space(bench: Bench, pruned: Path) -> Json:
    """Bytes of base and pruned model: as safetensors, deflated, and counted for two sparse formats."""
    base = bench.run.base_model
    dense = weight_file_bytes(base), weight_file_bytes(pruned)
    packed = deflated_bytes(base), deflated_bytes(pruned)
    mask, indexed = sparse_bytes(pruned)
    columns = [
        Column("how", "Stored as"),
        Column("base", "Base", "bytes"),
        Column("pruned", "Pruned", "bytes"),
        Column("source", "Where the figure is from"),
    ]
    rows: list[list[Any]] = [
        [N_("safetensors, as saved"), *dense, N_("measured")],
        [N_("Deflated (zlib), of the first 64 MiB"), *packed, N_("measured")],
        [N_("A bit for each weight, and those that are not zero"), None, mask, N_("computed")],
        [N_("Compressed sparse rows"), None, indexed, N_("computed")],
    ]
    bench.run.table("space", "What the zeros take on a disk", columns, rows)
    return {"deflated_base_bytes": packed[0], "deflated_bytes": packed[1], "bitmask_bytes": mask}


def deflated_bytes(folder: Path) -> int:
    """Bytes that a general compressor makes of a model's weight files, or of their beginning."""
    packer, size, left = zlib.compressobj(QUICK), 0, MOST_DEFLATED
    for path in weight_files(folder):
        with path.open("rb") as file:
            while left > 0 and (content := file.read(min(CHUNK, left))):
                size += len(packer.compress(content))
                left -= len(content)
    return size + len(packer.flush())


def sparse_bytes(pruned: Path) -> tuple[int, int]:
    """Bytes of the whole model with its layers' matrices as bit masks, and as compressed rows."""
    facts, reports = read_facts(pruned), read_reports(pruned)
    width = facts.bytes / facts.parameters
    inside = sum(report.weights for report in reports)
    kept = inside - sum(report.zeros for report in reports)
    outside = (facts.parameters - inside) * width
    starts = sum(report.outputs + 1 for report in reports) * INDEX_BYTES
    mask = outside + inside / 8 + kept * width
    return round(mask), round(outside + kept * (width + INDEX_BYTES) + starts)

"""Metrics that the labs on compression log, so that pages can compare their runs. Imports no torch."""

from labs.common.metrics import INFERENCE_METRICS
from labs.contract import Metric

# Prompts that are answered at once when throughput is measured.
BATCH_SIZES = (1, 4, 16)
THROUGHPUT = "throughput/batch_{size}_tokens_per_second"

QUALITY_METRICS = (
    Metric("test/perplexity", "Perplexity of running text", "", "lower"),
    Metric("test/base_perplexity", "Perplexity of the untouched model"),
    *INFERENCE_METRICS,
    *(
        Metric(THROUGHPUT.format(size=size), title, "tokens/s", "higher")
        for size, title in zip(
            BATCH_SIZES,
            (
                "Generation speed, 1 prompt at once",
                "Generation speed, 4 prompts at once",
                "Generation speed, 16 prompts at once",
            ),
            strict=True,
        )
    ),
    Metric("artifact/bytes", "Size on disk", "bytes", "lower"),
    Metric("artifact/base_bytes", "Size on disk of the untouched model", "bytes"),
    Metric("memory/peak_bytes", "Peak memory", "bytes", "lower"),
)

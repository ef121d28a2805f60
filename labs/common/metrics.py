"""Metrics that all training labs log. Imports no torch."""

from labs.contract import Metric

TRAINING_METRICS = (
    Metric("train/loss", "Training loss", "nats per target token", "lower"),
    Metric("eval/loss", "Validation loss", "nats per target token", "lower"),
    Metric("eval/perplexity", "Validation perplexity", "", "lower"),
    Metric("eval/accuracy", "Exact answers", "fraction", "higher"),
    Metric("train/learning_rate", "Learning rate"),
    Metric("train/grad_norm", "Gradient norm"),
    Metric("throughput/tokens_per_second", "Training throughput", "tokens/s", "higher"),
    Metric("memory/allocated_bytes", "Memory in use", "bytes", "lower"),
    Metric("memory/peak_bytes", "Peak memory", "bytes", "lower"),
    Metric("time/step_seconds", "Time per step", "s", "lower"),
    Metric("model/parameters", "Parameters"),
    Metric("model/trainable_parameters", "Trainable parameters", "", "lower"),
    Metric("model/trainable_fraction", "Trainable share", "fraction", "lower"),
    Metric("artifact/bytes", "Size on disk", "bytes", "lower"),
)
MERGE_METRIC = Metric("merge/max_difference", "Largest change of a logit by merging", "", "lower")
SWITCH_METRIC = Metric("switch/seconds", "Time to switch the task", "s", "lower")
INFERENCE_METRICS = (
    Metric("test/accuracy", "Exact answers on the test split", "fraction", "higher"),
    Metric("test/base_accuracy", "Exact answers of the untouched model", "fraction", "higher"),
    Metric("latency/mean_seconds", "Latency, mean", "s", "lower"),
    Metric("latency/p50_seconds", "Latency, median", "s", "lower"),
    Metric("latency/p95_seconds", "Latency, 95th percentile", "s", "lower"),
    Metric("latency/p99_seconds", "Latency, 99th percentile", "s", "lower"),
    Metric("latency/first_token_seconds", "Time to first token", "s", "lower"),
    Metric("throughput/generated_tokens_per_second", "Generation speed", "tokens/s", "higher"),
)

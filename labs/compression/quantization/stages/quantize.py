"""Quantize: layer by layer, with what it costs of each layer's output."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from labs.common.agreement import Prompts, compared_prompts, logits
from labs.common.cards import TRANSFORMERS, write_card
from labs.common.data import prepare
from labs.common.evaluation import perplexity
from labs.common.loading import DTYPES, load_model, load_tokenizer
from labs.common.memory import peak_bytes, release, reset_peak
from labs.common.seeding import seed_everything
from labs.compression.common.layerwise import decoder_layers, matrices_of
from labs.compression.common.quality import exam, measured_loss, weight_file_bytes
from labs.compression.common.texts import calibration
from labs.compression.quantization.layout import save_quantized
from labs.compression.quantization.quantize import quantize_model
from labs.compression.quantization.spec import LAB, QuantizationParams
from labs.compression.quantization.stages.by_engine import by_engine
from labs.compression.quantization.watching import Watch
from labs.contract import N_, Column, Json, LabContext
from labs.model_files import read_tensors
from labs.models import read_facts

ARTIFACT = "quantized"
# What the model says in memory, for the stage that proves that the saved one says the same.
SAID = "quantized-logits.safetensors"
SAID_PROMPTS = 4
# Bits of the layouts of compressed-tensors that vLLM has kernels for.
READ_BY_VLLM = (4, 8)


def quantize(params: QuantizationParams, run: LabContext) -> Json:
    """Quantize all matrices of the layers, and save them as small as they have become.

    Reads the base model and the calibration text. Leaves the artifact `quantized`, errors by layer
    and matrix, histograms of the weights, the size of the file against the formula; and for the
    last stage what the quantized model says in memory.
    """
    tokenizer = load_tokenizer(run.base_model)
    blocks = calibration(run, params, tokenizer)
    reset_peak(run.device)
    seed_everything(run.seed)
    given = by_engine(params, run, blocks, stored_dtype(params, run))
    run.progress(0, 1, "loading the base model")
    model = load_model(run.base_model, run.device, DTYPES[params.precision])
    watch = Watch(run, per_layer=len(matrices_of(decoder_layers(model)[0])))
    made = quantize_model(
        model,
        blocks,
        params.scheme,
        run.device,
        stored_dtype(params, run),
        watch,
        run.check_stop,
        given,
    )
    watch.show()
    peak = peak_bytes(run.device)
    said = made.model
    if params.scheme.stored == "bitsandbytes":
        said = load_by_bitsandbytes(params, run)
    loss = measured_loss(run, params, said, exam(run, params))
    keep_said(run, said, said_prompts(run, params))

    summary: Json = {
        "layers": watch.found[-1].layer + 1,
        "quantize/output_error": watch.mean_error,
        "quantize/rounding_error": watch.mean_rounding_error,
        "test/perplexity": perplexity(loss),
    }
    with run.artifact(ARTIFACT, "quantized") as folder:
        save_quantized(made, tokenizer, run.base_model, folder)
        write_card(folder, LAB, params, run, summary, "transformers", loading(params))
    del made, model, said
    release(run.device)
    return {**summary, **show_file(run, params), "peak_bytes": peak}


def loading(params: QuantizationParams) -> str:
    """Python for the card, with what it needs and what else reads the checkpoint."""
    stored = params.scheme.stored
    package = "bitsandbytes" if stored == "bitsandbytes" else "compressed-tensors"
    needs = f"# Needs the package {package}.\n"
    if stored != "bitsandbytes" and params.bits in READ_BY_VLLM:
        needs += "# vLLM reads this folder too: vllm serve .\n"
    return needs + TRANSFORMERS


def load_by_bitsandbytes(params: QuantizationParams, run: LabContext) -> PreTrainedModel:
    """The base as bitsandbytes quantizes it while it is loaded: its own kernels say what counts."""
    dtype, double = DTYPES[params.precision], params.scheme.double_quantization
    return load_model(run.base_model, run.device, dtype, params.method, double)


def stored_dtype(params: QuantizationParams, run: LabContext) -> torch.dtype:
    """In which scales and everything unquantized are stored: 16 bits where run or base has them."""
    facts = read_facts(run.base_model)
    if params.stored_bytes(facts) == 4:
        return torch.float32
    if params.precision != "fp32":
        return DTYPES[params.precision]
    return torch.float16 if facts.dtype == "float16" else torch.bfloat16


def said_prompts(run: LabContext, params: QuantizationParams) -> Prompts:
    """The rows whose logits are compared."""
    data = prepare(run.dataset, load_tokenizer(run.base_model), params.max_length)
    return compared_prompts(data, SAID_PROMPTS)


def keep_said(run: LabContext, model: PreTrainedModel, prompts: Prompts) -> None:
    """Write what a model says to these prompts beside the results of the stages."""
    found = logits(model, prompts, run.device)
    save_file({str(i): each.contiguous() for i, each in enumerate(found)}, _said_path(run))


def kept_said(run: LabContext) -> list[Tensor] | None:
    """What the quantized model said in memory, or None where it has not been kept."""
    path = _said_path(run)
    if not path.is_file():
        return None
    found = load_file(path)
    return [found[str(i)] for i in range(len(found))]


def show_file(run: LabContext, params: QuantizationParams) -> Json:
    """The file's size beside the formula's, and where the rest of it went."""
    folder, facts = run.run_dir / "artifacts" / ARTIFACT, read_facts(run.base_model)
    tensors = sum(tensor.bytes for tensor in read_tensors(folder).values())
    size = weight_file_bytes(folder)
    expected = int(run.result("setup").get("expected_bytes") or 0)
    columns = [Column("what", "What"), Column("bytes", "Bytes")]
    rows: list[list[Any]] = [
        [N_("Expected by the formula"), expected or None],
        [N_("Tensors in the file"), tensors],
        [N_("Header: names and shapes"), size - tensors],
        [N_("The file"), size],
        [N_("The base model's file"), weight_file_bytes(run.base_model)],
    ]
    run.table("file", "Size on disk against the formula", columns, rows)
    run.log(facts.layers, {"artifact/bytes": size})
    return {"tensor_bytes": tensors, "artifact/bytes": size}


def _said_path(run: LabContext) -> Path:
    return run.run_dir / "stages" / SAID

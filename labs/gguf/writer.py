"""Writes a model folder as one GGUF file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from labs.gguf.architectures import architecture_of, refuse_gguf
from labs.gguf.kinds import GgufFacts, row_bytes, stored_as
from labs.gguf.metadata import add_general, add_shape, add_vocabulary, license_of
from labs.gguf.positions import read_positions
from labs.gguf.quantizing import packed
from labs.gguf.refusals import require_activation
from labs.gguf.tensors import Source, sources
from labs.gguf.vocabulary import read_vocabulary
from labs.models import ModelFacts, read_config, read_facts

FLOAT32 = "f32"


def write(
    folder: Path,
    target: Path,
    kind: str,
    name: str,
    described: Mapping[str, str],
    check: Callable[[], None],
) -> GgufFacts:
    """See `labs.gguf.write_gguf`."""
    facts, config = read_facts(folder), read_config(folder)
    refused = refuse_gguf(facts, "f16" if kind == FLOAT32 else kind)
    if refused is not None:
        raise refused
    architecture = architecture_of(facts.model_type)
    require_activation(config, architecture)
    positions = read_positions(config, facts.head_dim, facts.max_positions)
    vocabulary = read_vocabulary(folder, facts.vocab_size)
    written = sources(folder, facts, architecture)
    beside = target.with_name(f".{target.name}.new")
    writer = GGUFWriter(beside, architecture.name)
    add_general(writer, kind, name, _described(folder, described), facts.parameters)
    add_shape(writer, facts, config, positions)
    add_vocabulary(writer, vocabulary)
    kinds = {each.tensor: _stored(each, kind, facts) for each in written}
    try:
        header = _write_file(writer, written, kinds, positions.factors, check)
    except BaseException:
        writer.close()
        beside.unlink(missing_ok=True)
        raise
    beside.replace(target)
    return GgufFacts(
        path=target,
        kind=kind,
        architecture=architecture.name,
        tensors=len(written),
        parameters=sum(int(np.prod(each.shape)) for each in written),
        bytes=target.stat().st_size,
        header_bytes=header,
        types=dict(Counter(kinds.values())),
    )


def _described(folder: Path, described: Mapping[str, str]) -> dict[str, str]:
    """What is told of the model; the licence is its own card's where none is given."""
    return {"license": license_of(folder), **described}


def _stored(source: Source, kind: str, facts: ModelFacts) -> str:
    if not source.is_matrix:
        return "F32"
    role = source.place.role
    if role == "token_embd" and facts.tied:
        role = "output"
    return stored_as(kind, role, source.place.layer, facts.layers, source.shape[-1])


def _write_file(
    writer: GGUFWriter,
    written: Sequence[Source],
    kinds: Mapping[str, str],
    factors: Sequence[float],
    check: Callable[[], None],
) -> int:
    """Header first, then tensor by tensor; the bytes of the header."""
    if factors:
        values = np.asarray(factors, dtype=np.float32)
        writer.add_tensor_info("rope_freqs.weight", values.shape, values.dtype, values.nbytes)
    for source in written:
        _announce(writer, source, kinds[source.tensor])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    assert writer.fout is not None
    file = writer.fout[0]
    writer.write_padding(file, file.tell())
    header = int(file.tell())
    if factors:
        file.write(values.tobytes())
        writer.write_padding(file, values.nbytes)
    for source in written:
        length = 0
        for rows in source.pieces():
            check()
            block = packed(rows, kinds[source.tensor], source.tensor)
            file.write(block.data)
            length += block.nbytes
        writer.write_padding(file, length)
    writer.close()
    return header


def _announce(writer: GGUFWriter, source: Source, stored: str) -> None:
    rows = int(np.prod(source.shape[:-1]))
    writer.add_tensor_info(
        source.place.name,
        source.shape,
        np.dtype(np.float32),
        rows * row_bytes(stored, source.shape[-1]),
        raw_dtype=GGMLQuantizationType[stored],
    )

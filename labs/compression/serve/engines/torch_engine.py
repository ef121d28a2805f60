"""transformers as an engine: continuous batching in one thread, token by token.

Between two tokens, requests that wait join the rows being computed, and finished ones leave
(iteration-level scheduling, Orca, Yu et al. 2022). A new prompt is read whole in between, which
the other rows wait for.
"""

import inspect
import queue
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicCache, DynamicLayer

from labs.common.loading import DTYPES, end_ids, load_model
from labs.common.memory import peak_bytes, release
from labs.compression.serve.asked import Asked, EngineFailed, Piece, Tell
from labs.compression.serve.engines.decoding import Decoder
from labs.compression.serve.spec import ServeParams
from labs.contract import LabContext


@dataclass(slots=True)
class Row:
    """One answer under way: what it was asked, its last token, and where its tokens go.

    After the last token comes None; an error comes as itself.
    """

    asked: Asked
    tokens: "queue.SimpleQueue[int | BaseException | None]" = field(
        default_factory=queue.SimpleQueue
    )
    dice: torch.Generator | None = None
    last: int = 0
    made: int = 0

    @property
    def is_over(self) -> bool:
        return self.made >= self.asked.max_tokens or self.asked.cancelled.is_set()


@dataclass(slots=True)
class Batch:
    """Rows computed together. `mask` is 1 where a token stands: [rows, length]; shorter rows are
    padded on their left, so that all of them end at the same place."""

    rows: list[Row]
    cache: DynamicCache
    mask: Tensor

    @property
    def layers(self) -> list[Any]:
        """Those of the cache, with `keys` and `values`: [rows, heads, length, head size]."""
        return list(self.cache.layers)

    @property
    def can_be_joined(self) -> bool:
        """Whether keys and values are kept for every position, one beside the other."""
        return all(type(layer) is DynamicLayer for layer in self.layers)

    def join(self, other: "Batch") -> None:
        """Put the rows of another batch below these."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        self.pad_to(length)
        other.pad_to(length)
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.keys = torch.cat([mine.keys, theirs.keys])
            mine.values = torch.cat([mine.values, theirs.values])
        self.mask = torch.cat([self.mask, other.mask])
        self.rows += other.rows

    def pad_to(self, length: int) -> None:
        """Add columns on the left, which the mask hides."""
        missing = length - self.mask.shape[1]
        if missing:
            pad = torch.nn.functional.pad
            self.mask = pad(self.mask, (missing, 0))
            for layer in self.layers:
                layer.keys = pad(layer.keys, (0, 0, missing, 0))
                layer.values = pad(layer.values, (0, 0, missing, 0))

    def keep(self, places: Sequence[int]) -> None:
        """Let go of all other rows, and of columns that only those needed."""
        if len(places) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in places]
        if not places:
            return
        index = torch.tensor(places, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask = self.mask[index]
        unused = int(self.mask.any(0).int().argmax())
        if unused and self.can_be_joined:
            self.mask = self.mask[:, unused:]
            for layer in self.layers:
                layer.keys = layer.keys[..., unused:, :]
                layer.values = layer.values[..., unused:, :]


class TorchEngine:
    """Answers up to `slots` requests at once; further ones wait in the order they came."""

    name = "transformers"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, device: str, slots: int
    ) -> None:
        self._model: PreTrainedModel | None = model
        self._tokenizer = tokenizer
        self._device = device
        self._slots = slots
        self._ends = frozenset(end_ids(model, tokenizer))
        accepted = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in accepted
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self._waiting: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._batches: list[Batch] = []
        self._closed = False
        self._thread = threading.Thread(
            target=self._work, args=(torch.get_num_threads(),), name="engine", daemon=True
        )
        self._thread.start()

    def answer(self, asked: Asked, tell: Tell) -> None:
        """See `Engine.answer`."""
        row = Row(asked, dice=_dice(asked))
        self._waiting.put(row)
        if self._closed:
            return
        decoder, count, ended = Decoder(self._tokenizer), 0, False
        while (token := row.tokens.get()) is not None:
            if isinstance(token, BaseException):
                raise EngineFailed(str(token)) from token
            count += 1
            ended = token in self._ends and not asked.ignore_end
            if not ended and count < asked.max_tokens:
                tell(Piece(decoder.put(token), count))
            elif not ended:
                tell(Piece(decoder.put(token) + decoder.rest(), count, "length"))
        if ended:
            tell(Piece(decoder.rest(), count, "stop"))

    def memory_bytes(self) -> int:
        """On a CPU what the whole process took, on a GPU what tensors did."""
        return peak_bytes(self._device)

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        self._fail(None)
        self._model = None
        release(self._device)

    def _work(self, threads: int) -> None:
        torch.set_num_threads(threads)
        while not self._closed:
            try:
                with torch.inference_mode():
                    self._round()
            except Exception as error:
                traceback.print_exc()
                self._fail(error)
        self._fail(None)

    def _round(self) -> None:
        """Let in who waits, then compute one token for each row."""
        busy = sum(len(batch.rows) for batch in self._batches)
        while busy < self._slots and not (busy and self._waiting.empty()):
            row = self._waiting.get()
            if row is None:
                return
            if row.is_over:
                row.tokens.put(None)
                continue
            try:
                self._admit(row)
            except Exception as error:
                traceback.print_exc()
                row.tokens.put(error)
            busy = sum(len(batch.rows) for batch in self._batches)
        for batch in self._batches:
            self._step(batch)
        self._batches = [batch for batch in self._batches if batch.rows]

    def _admit(self, row: Row) -> None:
        """Read a prompt whole; its first token comes from that pass."""
        ids = torch.tensor([row.asked.prompt], device=self._device)
        cache = DynamicCache(config=self._required.config)
        batch = Batch([row], cache, torch.ones_like(ids))
        self._compute(batch, ids)
        if not batch.rows:
            return
        first = next((each for each in self._batches if each.rows), None)
        if first and self._takes_positions and first.can_be_joined and batch.can_be_joined:
            first.join(batch)
        else:
            self._batches.append(batch)

    def _step(self, batch: Batch) -> None:
        ids = torch.tensor([[row.last] for row in batch.rows], device=self._device)
        batch.mask = torch.cat([batch.mask, torch.ones_like(ids)], 1)
        self._compute(batch, ids)

    def _compute(self, batch: Batch, ids: Tensor) -> None:
        """One pass over [rows, tokens]; each row gets its next token, and those at an end leave."""
        positions = (batch.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        options = {"position_ids": positions} if self._takes_positions else {}
        logits = self._required(
            input_ids=ids,
            attention_mask=batch.mask,
            past_key_values=batch.cache,
            use_cache=True,
            **options,
            **self._options,
        ).logits[:, -1]
        staying = []
        for place, row in enumerate(batch.rows):
            if not row.asked.cancelled.is_set():
                row.last = choose(logits[place], row.asked, row.dice)
                row.made += 1
                row.tokens.put(row.last)
            if row.is_over or (row.last in self._ends and not row.asked.ignore_end):
                row.tokens.put(None)
            else:
                staying.append(place)
        batch.keep(staying)

    @property
    def _required(self) -> PreTrainedModel:
        assert self._model is not None, "the engine is closed"
        return self._model

    def _fail(self, error: BaseException | None) -> None:
        """Tell everybody who is being answered; with no error, those who still wait as well."""
        for batch in self._batches:
            for row in batch.rows:
                row.tokens.put(error)
        self._batches = []
        while error is None and not self._waiting.empty():
            waiting = self._waiting.get()
            if waiting is not None:
                waiting.tokens.put(None)


def choose(logits: Tensor, asked: Asked, dice: torch.Generator | None) -> int:
    """The next token of one row: the likeliest, or one drawn from the nucleus.

    The nucleus (Holtzman et al. 2020, 1904.09751) is the smallest set of likeliest tokens that
    together have at least the probability `top_p`; [vocabulary] logits.
    """
    if asked.temperature == 0:
        return int(logits.argmax())
    probabilities, tokens = (
        (logits.float().cpu() / asked.temperature).softmax(-1).sort(descending=True)
    )
    before = probabilities.cumsum(0) - probabilities
    kept = torch.where(before < asked.top_p, probabilities, 0.0)
    kept[0] = probabilities[0]
    return int(tokens[torch.multinomial(kept, 1, generator=dice)])


def _dice(asked: Asked) -> torch.Generator | None:
    """Numbers of a request's own: the same seed draws the same, whoever else is being answered."""
    if asked.temperature == 0:
        return None
    dice = torch.Generator()
    if asked.seed is None:
        dice.seed()
    else:
        dice.manual_seed(asked.seed)
    return dice


def open_torch(
    params: ServeParams, run: LabContext, tokenizer: PreTrainedTokenizerBase
) -> TorchEngine:
    """Load the run's model as it is stored, quantized or not."""
    model = load_model(run.base_model, run.device, DTYPES[params.precision])
    return TorchEngine(model, tokenizer, run.device, params.slots)

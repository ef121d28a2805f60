"""Prompt tuning as the shared stages need it."""

import torch
from peft import PeftModel, PromptTuningConfig
from transformers import PreTrainedModel

from labs.common.loading import load_tokenizer
from labs.common.prompt_learning import PromptLearning, encoder_of, vectors_of, words_of
from labs.contract import N_, Column, LabContext
from labs.peft.prompt_tuning.method import from_noise, from_text, nearest_words
from labs.peft.prompt_tuning.spec import LAB, PromptTuningParams

SHOWN_WORDS = 5


class PromptTuning(PromptLearning[PromptTuningParams]):
    """Trained vectors before the embeddings of the text."""

    lab = LAB
    trained_part = N_("Soft prompt")

    def __init__(self, params: PromptTuningParams, run: LabContext) -> None:
        super().__init__(params)
        self.tokenizer = load_tokenizer(run.base_model)

    def config(self, base: PreTrainedModel) -> PromptTuningConfig:
        """The same parameters in peft's words."""
        return PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=self.params.virtual_tokens
        )

    @torch.no_grad()
    def attach(self, base: PreTrainedModel) -> PeftModel:
        """Vectors of the length of words: peft's own start is many times as long."""
        model = super().attach(base)
        table = words_of(base)
        count = self.params.virtual_tokens
        if self.params.initialization == "text":
            ids = self.tokenizer(self.params.initial_text, add_special_tokens=False).input_ids
            start = from_text(ids, count, table)
        else:
            start = from_noise(count, table)
        encoder_of(model).get_parameter("embedding.weight").copy_(start)
        return model

    def show_attached(self, model: PeftModel, run: LabContext) -> None:
        """The numbers of the prompt against those of the model."""
        vectors = vectors_of(model)
        columns = [
            Column("vectors", "Virtual tokens"),
            Column("width", "Numbers each"),
            Column("trained", "Trained", "parameters"),
        ]
        rows = [[len(vectors), vectors.shape[1], vectors.numel()]]
        run.table("trainable_share", "What prompt tuning trains", columns, rows)

    def show_trained(self, model: PeftModel, run: LabContext) -> None:
        """The words that each learned vector lies nearest to."""
        table = words_of(model.get_base_model()).detach()
        cosines, ids = nearest_words(vectors_of(model).to(table.device), table, SHOWN_WORDS)
        columns = [
            Column("vector", "Vector"),
            Column("words", "Nearest words"),
            Column("cosine", "Cosine of the nearest"),
        ]
        rows = [
            [
                i + 1,
                " · ".join(self._shown(token) for token in found),
                float(near[0]),
            ]
            for i, (near, found) in enumerate(zip(cosines, ids.tolist(), strict=True))
        ]
        run.table("nearest_words", "Which words the learned vectors lie near to", columns, rows)

    def _shown(self, token: int) -> str:
        """A token without the space before it; white space alone by its own signs."""
        return repr(str(self.tokenizer.decode([token])).strip(" "))[1:-1] or "␣"

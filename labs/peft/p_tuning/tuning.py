"""P-tuning as the shared stages need it."""

from peft import PeftModel, PromptEncoderConfig
from torch import Tensor
from transformers import PreTrainedModel

from labs.common.loading import count_parameters
from labs.common.prompt_learning import EncodedPrompt, encoder_of, vectors_of
from labs.contract import N_, Column, LabContext
from labs.peft.p_tuning.method import distance
from labs.peft.p_tuning.spec import LAB, PTuningParams


class PTuning(EncodedPrompt[PTuningParams]):
    """A soft prompt that a small network writes."""

    lab = LAB
    trained_part = N_("Prompt encoder")

    def __init__(self, params: PTuningParams) -> None:
        super().__init__(params)
        self._start: Tensor | None = None

    def config(self, base: PreTrainedModel) -> PromptEncoderConfig:
        """The same parameters in peft's words."""
        layers = self.params.encoder_layers if self.params.encoder == "lstm" else 2
        return PromptEncoderConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.params.virtual_tokens,
            encoder_reparameterization_type=self.params.encoder.upper(),
            encoder_hidden_size=self.params.encoder_width,
            encoder_num_layers=layers,
            encoder_dropout=0.0,
        )

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """The fresh encoder; what it writes before any training is remembered."""
        model = super().attach(base)
        self._start = vectors_of(model)
        return model

    def show_attached(self, model: PeftModel, run: LabContext) -> None:
        """What is trained, and what of it is kept."""
        trained, _ = count_parameters(encoder_of(model))
        columns = [Column("what", "What"), Column("value", "Numbers")]
        rows = [[N_("Trained"), trained], [N_("Kept afterwards"), vectors_of(model).numel()]]
        run.table("trainable_share", "What P-tuning trains and keeps", columns, rows)

    def show_trained(self, model: PeftModel, run: LabContext) -> None:
        """How far each vector of the encoded prompt has moved from where it began."""
        assert self._start is not None
        now = vectors_of(model)
        moved = distance(now, self._start)
        columns = [
            Column("vector", "Vector"),
            Column("moved", "Distance from its start"),
            Column("length", "Length at the start"),
        ]
        lengths = self._start.norm(dim=-1)
        rows = [
            [i + 1, float(far), float(long)]
            for i, (far, long) in enumerate(zip(moved, lengths, strict=True))
        ]
        run.table("distance", "How far the encoded prompt moved", columns, rows)

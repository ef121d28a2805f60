"""Prefix tuning as the shared stages need it."""

from peft import PeftModel, PrefixTuningConfig
from transformers import PreTrainedModel

from labs.common.loading import count_parameters
from labs.common.prompt_learning import DeepPrompts, EncodedPrompt, encoder_of, vectors_of
from labs.contract import N_, Column, LabContext
from labs.peft.prefix_tuning.spec import LAB, PrefixTuningParams


class PrefixTuning(EncodedPrompt[PrefixTuningParams], DeepPrompts[PrefixTuningParams]):
    """Trained keys and values before those of the text, in every layer."""

    lab = LAB
    trained_part = N_("Prefix")

    def config(self, base: PreTrainedModel) -> PrefixTuningConfig:
        """The same parameters in peft's words."""
        return PrefixTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=self.params.virtual_tokens,
            prefix_projection=self.params.reparameterize,
            encoder_hidden_size=self.params.prefix_width,
        )

    def show_attached(self, model: PeftModel, run: LabContext) -> None:
        """What is trained, and what of it is kept."""
        trained, _ = count_parameters(encoder_of(model))
        columns = [Column("what", "What"), Column("value", "Numbers")]
        rows = [[N_("Trained"), trained], [N_("Kept afterwards"), vectors_of(model).numel()]]
        run.table("trainable_share", "What prefix tuning trains and keeps", columns, rows)

"""Prefix tuning as the shared stages need it."""

from peft import PeftModel, PrefixTuningConfig
from transformers import PreTrainedModel

from labs.common.prompt_learning import DeepPrompts, EncodedPrompt, vectors_of
from labs.contract import N_, Column, LabContext
from labs.models import read_facts
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
        """What is trained with and without the MLP, and what is kept of either."""
        facts, stored = read_facts(run.base_model), vectors_of(model).numel()
        columns = [
            Column("what", "What"),
            Column("trained", "Trained", "parameters"),
            Column("kept", "Kept afterwards"),
            Column("here", "In this run"),
        ]
        rows = []
        for reparameterize, named in ((False, N_("Prefix alone")), (True, N_("With the MLP"))):
            params = self.params.model_copy(update={"reparameterize": reparameterize})
            here = "✓" if reparameterize == self.params.reparameterize else ""
            rows.append([named, params.trainable_parameters(facts), stored, here])
        run.table("trainable_share", "What prefix tuning trains and keeps", columns, rows)

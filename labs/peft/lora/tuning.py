"""LoRA as the shared stages need it."""

from collections import defaultdict

import torch
from peft import LoraConfig, PeftModel, prepare_model_for_kbit_training
from torch import nn
from transformers import PreTrainedModel

from labs.common.loading import DTYPES, load_model
from labs.common.peft_tuning import PeftTuning, keeps_inputs_first
from labs.common.state import matrices
from labs.contract import N_, Column, LabContext
from labs.peft.lora.method import singular_values
from labs.peft.lora.spec import ALL_LINEAR, LAB, LoraParams
from labs.peft.lora.updates import updates


class LoraTuning(PeftTuning[LoraParams]):
    """Low-rank matrices A and B beside frozen ones; with B = 0 the model is the base."""

    lab = LAB
    trained_part = N_("LoRA weights")

    def load_base(self, run: LabContext) -> PreTrainedModel:
        """The frozen base in the run's precision, quantized if asked."""
        return load_model(
            run.base_model,
            run.device,
            dtype=DTYPES[self.params.precision],
            quantization=self.params.base_quantization,
            double_quantization=self.params.double_quantization,
        )

    def prepare(self, base: PreTrainedModel) -> PreTrainedModel:
        """Norms of a quantized base are computed in float32."""
        if self.params.base_quantization == "none":
            return base
        prepared: PreTrainedModel = prepare_model_for_kbit_training(
            base, use_gradient_checkpointing=False
        )
        return prepared

    def config(self, base: PreTrainedModel) -> LoraConfig:
        """The same parameters in peft's words."""
        params = self.params
        names = list(params.target_modules)
        return LoraConfig(
            task_type="CAUSAL_LM",
            r=params.rank,
            lora_alpha=params.alpha,  # type: ignore[arg-type]  # peft divides by it; fractions are fine
            lora_dropout=params.dropout,
            target_modules=ALL_LINEAR if names == [ALL_LINEAR] else names,
            use_rslora=params.variant == "rslora",
            use_dora=params.variant == "dora",
            fan_in_fan_out=keeps_inputs_first(base),
        )

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """A and B: with zeros in either there is no update. Lengths of DoRA are left alone."""
        return matrices(name, parameter)

    def show_attached(self, model: PeftModel, run: LabContext) -> None:
        """The trained share of each kind of matrix."""
        kinds = defaultdict(list)
        for update in updates(model):
            kinds[update.kind].append(update)
        rows = []
        for kind, found in kinds.items():
            frozen = sum(update.base_parameters for update in found)
            trained = sum(update.trainable for update in found)
            shape = f"{found[0].b.shape[0]} × {found[0].a.shape[1]}"
            rows.append([kind, len(found), shape, frozen, trained, trained / (frozen + trained)])
        columns = [
            Column("module", "Module"),
            Column("count", "Matrices"),
            Column("shape", "Outputs × inputs"),
            Column("frozen", "Frozen", "parameters"),
            Column("trained", "Trained", "parameters"),
            Column("share", "Trained share", "fraction"),
        ]
        run.table("trainable_share", "What LoRA trains, module by module", columns, rows)

    @torch.no_grad()
    def show_trained(self, model: PeftModel, run: LabContext) -> None:
        """How much of its rank each update uses."""
        found = list(updates(model))
        values = [singular_values(update.a, update.b, update.scale).tolist() for update in found]
        run.heatmap(
            "singular_values",
            "Singular values of s·BA: how much of the rank each update uses",
            x=[f"σ{i + 1}" for i in range(len(values[0]))],
            y=[update.short_name for update in found],
            values=values,
        )

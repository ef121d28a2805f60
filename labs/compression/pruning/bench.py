"""What the parts of the analysis work with: fresh copies of the base, and a text to compare them on."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from labs.common.evaluation import perplexity
from labs.common.loading import DTYPES, load_model
from labs.common.memory import release
from labs.common.seeding import seed_everything
from labs.compression.common.quality import Exam, exam, measured_loss
from labs.compression.common.texts import calibration
from labs.compression.pruning.costs import MOST_TOKENS
from labs.compression.pruning.spec import PruningParams
from labs.contract import LabContext
from labs.models import ModelFacts, read_facts

# Looking for unused objects takes longer than a smaller model is worth.
RELEASED_ABOVE = 100_000_000


@dataclass(frozen=True, slots=True)
class Bench:
    """Parameters, calibration blocks and the shortened text of one analysis."""

    params: PruningParams
    run: LabContext
    blocks: Tensor
    asked: Exam
    facts: ModelFacts

    @classmethod
    def of(cls, params: PruningParams, run: LabContext) -> "Bench":
        """Read the running text."""
        asked = exam(run, params)
        blocks = calibration(run, params, asked.tokenizer)
        facts = read_facts(run.base_model)
        return cls(params, run, blocks, replace(asked, stream=asked.stream[:MOST_TOKENS]), facts)

    @property
    def tokens(self) -> int:
        """Tokens that perplexity is measured on here."""
        return len(self.asked.stream)

    def load(self, folder: Path | None = None) -> PreTrainedModel:
        """The untouched model, or one from a folder; hold one at a time."""
        if self.facts.parameters > RELEASED_ABOVE:
            release(self.run.device)
        seed_everything(self.run.seed)
        dtype = DTYPES[self.params.precision]
        return load_model(folder or self.run.base_model, self.run.device, dtype)

    def perplexity(self, model: PreTrainedModel) -> float:
        """On the shortened text, with the run's window and stride."""
        return perplexity(measured_loss(self.run, self.params, model, self.asked))

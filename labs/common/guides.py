"""The deploy guide of a method that cannot be merged: one base, many tasks, and what they cost."""

import json
from collections.abc import Mapping

from labs.contract import Lab, LabContext

GUIDE = """# {title}: one base, many tasks

What was learned stands beside the base “{base}” and cannot be added to its weights. Load the base
once and one small folder for each task; each request names its task. Tasks share the memory of the
base and never see each other's weights.

{how}## Measured

By this run, on {device}.

| what | value | unit |
|---|---|---|
{rows}
"""
PEFT = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base})
model = PeftModel.from_pretrained(base, "first-task", adapter_name="first")
model.load_adapter("second-task", adapter_name="second")
model.set_adapter("first")  # before the requests of that task
"""
CODE = """```python
{serving}```

Loaded like this, all rows of a batch do the same task.

"""
OWN_LOADER = """The artifact's own README.md holds the lines that put it into the base.

"""
LEFT_PADDING = """peft 0.21 forgets the positions of a soft prompt in `generate` when rows of a batch are filled up on
the left: give it rows of equal length, or one at a time.

"""


def served_by_peft(base_name: str) -> str:
    """Python that keeps two adapters of peft beside one base."""
    return PEFT.format(base=json.dumps(base_name))


def guide(
    lab: Lab, run: LabContext, measured: Mapping[str, tuple[float, str]], serving: str, inside: bool
) -> str:
    """The guide as Markdown.

    Args:
        lab: The method.
        run: Names the base and the device.
        measured: What was measured, with its value and unit.
        serving: Python that keeps two tasks beside one base, or nothing.
        inside: Whether trained vectors stand among the embeddings of the text.
    """
    how = CODE.format(serving=serving) if serving else OWN_LOADER
    rows = (f"| {what} | {_told(*each)} | {each[1]} |" for what, each in measured.items())
    return GUIDE.format(
        title=lab.title,
        base=run.base_model_name,
        how=how + (LEFT_PADDING if inside else ""),
        device=run.device,
        rows="\n".join(rows),
    )


def _told(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit == "bytes" else f"{value:.4g}"

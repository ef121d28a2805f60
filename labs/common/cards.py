"""Model cards: where a model comes from, how it was made, what was measured."""

import json
from pathlib import Path

from labs.contract import Json, Lab, LabContext, Params
from labs.datasets import fingerprint

CARD = """---
base_model: {quoted}
datasets:
- {quoted_dataset}
library_name: {library}
pipeline_tag: text-generation
tags:
- bunsen
- {slug}
---

# {base}, after the lab “{title}”

{summary}

| | |
|---|---|
| Base model | {base} |
| Dataset | {dataset} |
| Data, sha256 | `{sha256}` |
| Seed | {seed} |
| Device | {device} |

## Measured

One run with one seed; greedy decoding on rows that were not trained on.

{results}

## Load it

{loading}

## Parameters

```json
{params}
```

## Sources

{sources}
"""


LOADED = """In this folder; give the base model by its folder or its hub id:

```python
{lines}```"""
PEFT = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base})
model = PeftModel.from_pretrained(base, ".")
"""
TRANSFORMERS = """\
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(".")
"""
LOADING = {"peft": PEFT, "transformers": TRANSFORMERS}


def loading_lines(library: str, base_name: str) -> str:
    """Python that loads an artifact of a library from its own folder; empty for other libraries."""
    return LOADING.get(library, "").format(base=json.dumps(base_name))


def write_card(
    folder: Path,
    lab: Lab,
    params: Params,
    run: LabContext,
    results: Json,
    library: str,
    loading: str | None = None,
) -> None:
    """Write README.md beside the weights.

    `loading` is Python that loads them, run in their folder; left out, the library's own way.
    """
    lines = loading_lines(library, run.base_model_name) if loading is None else loading
    sources = (f"- {s.authors} ({s.year}). {s.title}. arXiv:{s.arxiv}" for s in lab.sources)
    card = CARD.format(
        base=run.base_model_name,
        # A name is a person's text: quoted, it cannot become YAML of its own.
        quoted=json.dumps(run.base_model_name),
        quoted_dataset=json.dumps(run.dataset_name),
        library=library,
        slug=lab.slug,
        title=lab.title,
        summary=lab.summary,
        dataset=run.dataset_name,
        sha256=fingerprint(run.dataset),
        seed=run.seed,
        device=run.device,
        results=_results(results),
        loading=LOADED.format(lines=lines) if lines else f"By the stages of this lab ({library}).",
        params=json.dumps(params.model_dump(mode="json"), indent=1, ensure_ascii=False),
        sources="\n".join(sources),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _results(results: Json) -> str:
    rows = (f"| {key} | {_shown(value)} |" for key, value in results.items() if value is not None)
    return "\n".join(["| what | value |", "|---|---|", *rows])


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

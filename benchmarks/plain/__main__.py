"""`python -m benchmarks.plain METHOD MODEL ROWS SEED PARAMS`: one training, nothing logged.

Prints one JSON object: the time at the end of each step, in seconds, and the last loss. Rows,
order, seed and rates are those of the lab; PARAMS are its parameters as JSON.
"""

import json
import os
import sys

import torch
from transformers import AutoTokenizer

from benchmarks.plain.methods import METHODS
from benchmarks.plain.training import read_rows, train


def main(method: str, model_dir: str, rows_file: str, seed: str, given: str) -> None:
    params = json.loads(given)
    torch.set_num_threads(os.cpu_count() or 1)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    rows = read_rows(tokenizer, rows_file)
    torch.manual_seed(int(seed))
    model = METHODS[method](model_dir, params)
    ends, loss = train(model, rows, tokenizer.pad_token_id, int(seed), params)
    print(json.dumps({"ends": ends, "loss": loss}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The tokenizer of all bundled models: byte-level BPE over 2,048 tokens with a ChatML template.

Text is cut the way Qwen2 cuts it (digits one by one), so that tools which know Qwen2 know this one.
Padding is `<|endoftext|>`, which also stands between documents; a turn ends with `<|im_end|>`, which
is the token that generation stops at and that a model must learn to emit.
"""

from collections.abc import Iterator
from itertools import islice
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from labs.bundled.corpus import SYSTEM, pretraining_rows
from labs.bundled.prose import documents

VOCAB_SIZE = 2048
MAX_POSITIONS = 1024
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
QWEN2_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def make_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """Learn the tokenizer from text of the same kinds as the models are trained on."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_CUTS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(Random(seed)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def _sample(random: Random) -> Iterator[str]:
    for row in islice(pretraining_rows(random), 12_000):
        yield f"user\n{row.instruction}\n\n{row.text}"
        yield f"assistant\n{row.answer}"
    yield from islice(documents(random), 6_000)
    yield f"system\n{SYSTEM}"

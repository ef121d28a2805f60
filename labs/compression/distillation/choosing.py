"""Which layers: those of a teacher that make a student, and which of them a student imitates.

Imports no torch.
"""

import re
from collections.abc import Sequence

# One number, or several with commas or spaces between them.
CHOICE = r"^\s*\d{1,5}([\s,]+\d{1,5})*[\s,]*$"


def parse_layers(text: str) -> tuple[int, ...] | int:
    """The numbers of layers in their order, or one number: how many.

    A comma makes the difference where there is one number only: `0,` is the first layer alone.

    Raises:
        ValueError: If this is something else, a layer is named twice, or they do not ascend.
    """
    if not re.fullmatch(CHOICE, text):
        raise ValueError("layers are numbers with commas between them")
    numbers = [int(word) for word in text.replace(",", " ").split()]
    if len(numbers) == 1 and "," not in text:
        if numbers[0] < 1:
            raise ValueError("a student needs at least one layer")
        return numbers[0]
    if sorted(set(numbers)) != numbers:
        raise ValueError("name each layer once, from the lowest to the highest")
    return tuple(numbers)


def chosen_layers(text: str, count: int) -> tuple[int, ...]:
    """Layers of a teacher that has `count`: those that are named, or so many evenly spaced.

    Evenly spaced layers begin with the first and end with the last, as far as there are two.

    Raises:
        ValueError: If the teacher has no such layer, or not so many.
    """
    asked = parse_layers(text)
    if isinstance(asked, int):
        if asked > count:
            raise ValueError(f"{asked} of {count}")
        last = max(1, asked - 1)
        return tuple(round(i * (count - 1) / last) for i in range(asked))
    if asked[-1] >= count:
        raise ValueError(f"{asked[-1]} of {count}")
    return asked


def mapped_layers(student: int, teacher: int) -> Sequence[tuple[int, int]]:
    """Which layer of the teacher each of the student's imitates, both counted from 1.

    The uniform strategy of TinyBERT (1909.10351, section 4.4): g(m) = m · N / M, rounded where the
    student's layers do not divide the teacher's. The last imitates the last.

    Raises:
        ValueError: If the student has more layers than the teacher.
    """
    if student > teacher:
        raise ValueError(f"{student} layers cannot be mapped onto {teacher}")
    return [(m, round(m * teacher / student)) for m in range(1, student + 1)]

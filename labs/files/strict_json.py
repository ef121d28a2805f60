"""JSON as its standard has it: no NaN, no name twice in an object, no number without end."""

import json
from typing import Any

from labs.contract import N_
from labs.files.rows import Bad, check_storable


def parse(text: str) -> Any:
    """The value of a text.

    Raises:
        Bad: If it is no JSON, or holds what cannot be stored.
    """
    try:
        value = STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise not_json(error.msg, error.pos + 1) from error
    except (ValueError, RecursionError) as error:
        raise unusable() from error
    # Only an escape can bring these in: bare, they are no JSON or no UTF-8.
    if "\\u" in text:
        check_storable([value])
    return value


def not_json(reason: str, position: int) -> Bad:
    """What a decoder says, and at which character of the line."""
    message = N_("Not valid JSON at character {position}: {reason}.")
    return Bad(message, position=position, reason=reason)


def unusable() -> Bad:
    """What the decoder gives up on."""
    return Bad("Not usable JSON: a number too long or objects nested too deep.")


def _constant(name: str) -> Any:
    raise Bad("{value} is not JSON: numbers are finite. Leave it out or write null.", value=name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Bad("The name “{name}” stands twice in one object.", name=twice[:40])
    return found


# Reads from a place in a text on; `LENIENT` finds the end of what `STRICT` refuses.
STRICT = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_object)
LENIENT = json.JSONDecoder()

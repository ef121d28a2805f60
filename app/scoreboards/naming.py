"""Methods in few words."""

import re

from app.i18n import gettext
from labs.contract import Lab


def method_name(lab: Lab) -> str:
    """The name alone of “LoRA: low-rank adaptation”, for tables and pictures."""
    return re.split(r"\s*[:：]\s*", gettext(lab.title), maxsplit=1)[0]

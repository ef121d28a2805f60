"""Whether a run can start from a model now, by the files on the disk; no file is opened."""

from pathlib import Path

from app.i18n import N_
from app.library.soundness import stamp_of
from app.models import LanguageModel
from labs.contract import LabError


def check_standing(model: LanguageModel) -> None:
    """Raise `LabError` with the reason why no run can start from a model now."""
    if model.retired_at is not None:
        raise LabError(
            N_("“{name}” was taken out of the library. Choose another base model."),
            name=model.name,
        )
    if not model.path:
        raise LabError(
            N_("“{name}” is still on its way from the hub. Choose another base model for now."),
            name=model.name,
        )
    check_files(model)


def check_files(model: LanguageModel) -> None:
    """Raise `LabError` if the folder of a model is gone or no longer what was checked."""
    try:
        stamp = stamp_of(Path(model.path))
    except OSError as error:
        raise LabError(
            N_("The folder of “{name}” cannot be read: {reason}."),
            name=model.name,
            reason=error.strerror or type(error).__name__,
        ) from error
    known = model.facts.get("stamp")
    if known is not None and known != [list(each) for each in stamp]:
        raise LabError(
            N_("The files of “{name}” have changed since they were checked. An administrator can check them again on its page."),
            name=model.name,
        )  # fmt: skip

"""What went wrong with the hub, in words; never with an address, which could carry a secret."""

import errno
from typing import Any

import httpx
from huggingface_hub import errors

from app.i18n import N_
from labs.contract import LabError

Sentence = tuple[str, dict[str, Any]]


def told(error: Exception, hub_id: str, revision: str) -> Sentence:
    """The sentence and its values for whatever a download ended by."""
    if isinstance(error, LabError):
        return error.message, error.values
    if isinstance(error, errors.GatedRepoError):
        return N_(
            "“{name}” is gated: accept its conditions on the hub, and give this site a token of that account (BUNSEN_HUB_TOKEN_FILE)."
        ), {"name": hub_id}
    if isinstance(error, errors.RevisionNotFoundError):
        return N_("“{name}” has no revision “{revision}”."), {"name": hub_id, "revision": revision}
    if isinstance(error, errors.RepositoryNotFoundError):
        return N_("The hub has no model “{name}”, or it is private."), {"name": hub_id}
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        return N_("The hub answered with an error ({status}). Try again later."), {"status": status}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return N_("The disk is full. Make room and try again: what is here is kept."), {}
    if type(error) in (PermissionError, FileNotFoundError):
        return N_("A file that Bunsen needs cannot be read or written: {file}."), {
            "file": str(getattr(error, "filename", "")).rpartition("/")[2]
        }
    if isinstance(error, httpx.HTTPError | OSError | errors.OfflineModeIsEnabled):
        return N_(
            "The hub could not be reached, or the connection broke ({kind}). Try again: what is here is kept."
        ), {"kind": type(error).__name__}
    return N_("Fetching ended by a fault of ours ({kind})."), {"kind": type(error).__name__}

"""What NVIDIA's driver says when a GPU is broken: which messages mean it, and what to do then.

The numbers are those that NVIDIA's catalogue answers with a reset of the GPU (48 and 74 with "a
reset or a reboot", 79 with a restart of the machine), compared one by one in November 2026 with
docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html for Ampere and newer; pages link to
it, and it decides. What an application can cause by itself (13, 31, 43, 45 and others) says
nothing against the device, and 94 asks only to start the application again: none is here.
"""

import logging
from collections.abc import Mapping
from typing import Any

from app.i18n import N_
from app.runs.reasons import reason_of

log = logging.getLogger(__name__)
Json = dict[str, Any]
CATALOGUE = "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"
RESET = N_("Reset the GPU.")
RESTART = N_("Restart the machine; if it happens again, the GPU and its slot need service.")
LINK = N_("Reset the GPU and check its NVLink connection.")
# An Xid, what it means, and the usual first step.
XIDS: Mapping[int, tuple[str, str]] = {
    46: (N_("the GPU stopped processing"), RESET),
    48: (N_("an uncorrectable memory error"), RESET),
    62: (N_("its micro-controller halted"), RESET),
    64: (N_("broken memory could not be remapped"), RESET),
    74: (N_("an NVLink error"), LINK),
    79: (N_("the GPU has fallen off the bus"), RESTART),
    95: (N_("an uncontained memory error"), RESET),
    109: (N_("a context switch took too long"), RESET),
    110: (N_("a security fault"), RESET),
    119: (N_("its system processor does not answer"), RESET),
    120: (N_("its system processor failed"), RESET),
    140: (N_("an unrecovered memory error"), RESET),
    143: (N_("it could not be initialised"), RESET),
    158: (N_("a fatal timeout"), RESET),
}


class FaultWatch:
    """Asks the driver about one GPU: Xid events, uncorrected memory errors, a lost GPU."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._events = self._subscribe()
        # Errors since the driver was loaded; those from before this worker are old news.
        self._errors = self._uncorrected() or 0

    def look(self) -> Json | None:
        """The first thing found wrong since the last look, as a sentence for an admin."""
        try:
            return self._xid() or self._memory()
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) != self._nvml.NVML_ERROR_GPU_IS_LOST:
                log.warning("the driver was asked for faults and did not answer: %s", error)
                return None
            return _told(N_("The driver has lost the GPU."), RESTART)

    def _xid(self) -> Json | None:
        while (number := self._next_event()) is not None:
            if number in XIDS:
                reason, action = XIDS[number]
                fault = _told(N_("Xid {xid}: {reason}."), action, xid=number, reason=reason)
                return {**fault, "xid": number, "link": CATALOGUE}
            log.warning("Xid %d: nothing that takes a GPU out of service", number)
        return None

    def _memory(self) -> Json | None:
        errors = self._uncorrected()
        if errors is None or errors <= self._errors:
            return None
        new, self._errors = errors - self._errors, errors
        return _told(N_("Uncorrected memory errors (ECC): {count}."), RESET, count=new)

    def _next_event(self) -> int | None:
        if self._events is None:
            return None
        try:
            return int(self._nvml.nvmlEventSetWait_v2(self._events, 0).eventData)
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) == self._nvml.NVML_ERROR_TIMEOUT:
                return None
            raise

    def _subscribe(self) -> Any:
        """The driver's queue of events, where this GPU and driver have one."""
        try:
            events = self._nvml.nvmlEventSetCreate()
            self._nvml.nvmlDeviceRegisterEvents(
                self._handle, self._nvml.nvmlEventTypeXidCriticalError, events
            )
        except self._nvml.NVMLError as error:
            log.info("no Xid events here: %s", error)
            return None
        return events

    def _uncorrected(self) -> int | None:
        """Uncorrected memory errors since the driver was loaded; None without ECC.

        Raises:
            NVMLError: If the GPU is lost.
        """
        try:
            return int(
                self._nvml.nvmlDeviceGetTotalEccErrors(
                    self._handle,
                    self._nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                    self._nvml.NVML_VOLATILE_ECC,
                )
            )
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) == self._nvml.NVML_ERROR_GPU_IS_LOST:
                raise
            return None


def _told(message: str, action: str, **values: Any) -> Json:
    """A fault: what happened, and beside it what to do."""
    return {**reason_of(message, **values), "action": action}

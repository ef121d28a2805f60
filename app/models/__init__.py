"""Table definitions, one noun a file, no queries."""

from app.models.accounts import (
    ApiToken,
    Classroom,
    ClassSession,
    Enrollment,
    EntryLink,
    LoginSession,
    Role,
    User,
)
from app.models.audit import AuditEntry
from app.models.base import Base, new_id
from app.models.devices import Device, DeviceState
from app.models.endpoints import EndpointKey
from app.models.groups import GroupKind, RunGroup
from app.models.inputs import Dataset, DatasetShare, LanguageModel
from app.models.runs import (
    OVER,
    Artifact,
    Attempt,
    MetricChunk,
    MetricLatest,
    Run,
    RunEvent,
    RunResource,
    RunState,
)

__all__ = [
    "OVER",
    "ApiToken",
    "Artifact",
    "Attempt",
    "AuditEntry",
    "Base",
    "ClassSession",
    "Classroom",
    "Dataset",
    "DatasetShare",
    "Device",
    "DeviceState",
    "EndpointKey",
    "Enrollment",
    "EntryLink",
    "GroupKind",
    "LanguageModel",
    "LoginSession",
    "MetricChunk",
    "MetricLatest",
    "Role",
    "Run",
    "RunEvent",
    "RunGroup",
    "RunResource",
    "RunState",
    "User",
    "new_id",
]

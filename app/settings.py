"""Settings, from `BUNSEN_*` variables or `bunsen.toml`. The only reader of the environment."""

from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Everything a site can change. `bunsen doctor` prints them with their source."""

    model_config = SettingsConfigDict(
        env_prefix="BUNSEN_", toml_file=ROOT / "bunsen.toml", extra="forbid", frozen=True
    )

    home: Path = Field(default=ROOT / "data", description="Folder of all data.")
    database_url: SecretStr | None = Field(
        default=None, description="SQLAlchemy URL; SQLite in the data folder when absent."
    )
    broker_url: SecretStr | None = Field(
        default=None, description="Redis URL; an embedded Redis when absent."
    )
    hub: Literal["offline", "online"] = Field(
        default="offline", description="Whether models may come from the Hugging Face hub."
    )
    hub_token_file: Path | None = Field(
        default=None, description="File with a token of the hub, for models that ask for one."
    )
    secret_file: Path | None = Field(
        default=None, description="File with a secret for signed values; nothing is signed yet."
    )
    public_url: str = Field(default="", description="Address people use, for links and cookies.")
    secure_cookies: bool = Field(default=False, description="Set behind HTTPS.")
    device_slots: int = Field(default=4, ge=1, le=64, description="Runs at once on a device.")
    lease: timedelta = Field(
        default=timedelta(seconds=15), description="A worker silent for so long has lost its run."
    )
    stop_grace: timedelta = Field(
        default=timedelta(seconds=20), description="Time to save a checkpoint after SIGTERM."
    )
    no_progress: timedelta = Field(
        default=timedelta(minutes=15), description="A trainer silent for so long is stopped."
    )
    time_limit: timedelta = Field(
        default=timedelta(hours=12), description="Longest time one attempt at a run may take."
    )
    time_slice: timedelta = Field(
        default=timedelta(minutes=20),
        description="After so long a run makes room for others who have waited as long.",
    )
    session_slice: timedelta = Field(
        default=timedelta(minutes=5), description="The time slice during a class's lab session."
    )
    device_memory: int | None = Field(
        default=None,
        ge=1,
        description="Bytes that the runs of a device may take together; all it has when absent.",
    )
    serve_host: str = Field(
        default="127.0.0.1",
        description="Address of this machine that runs which serve a model listen on.",
    )
    serve_hosts: str = Field(
        default="",
        description="Addresses of other machines that serve models, separated by commas.",
    )
    max_upload_bytes: int = Field(default=2 * 1024**3, ge=1, description="Size of one dataset.")
    max_waiting_per_person: int = Field(default=20, ge=1, description="Runs a student may queue.")
    max_running_per_person: int | None = Field(
        default=None, ge=1, description="Runs of one person on devices at a time."
    )
    max_device_seconds_per_person: int | None = Field(
        default=None, ge=1, description="Device-seconds of one person in a day."
    )
    min_free_bytes: int = Field(
        default=1024**3, ge=0, description="No new runs when the disk has less."
    )

    @property
    def runs_dir(self) -> Path:
        return self.home / "runs"

    @property
    def datasets_dir(self) -> Path:
        return self.home / "datasets"

    @property
    def models_dir(self) -> Path:
        return self.home / "models"

    @property
    def sqlalchemy_url(self) -> str:
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'bunsen.db'}"

    @property
    def embedded_broker_socket(self) -> Path:
        return self.home / "broker" / "redis.sock"

    @property
    def celery_broker_url(self) -> str:
        if self.broker_url is not None:
            return self.broker_url.get_secret_value()
        return f"redis+socket://{self.embedded_broker_socket}"

    def run_dir(self, run_id: object) -> Path:
        return self.runs_dir / str(run_id)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


@cache
def get_settings() -> Settings:
    """The settings of this process; tests clear the cache to change them."""
    return Settings()

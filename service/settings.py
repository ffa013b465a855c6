"""The settings of a server, from the environment (`STCONV_SERVE_*`) or from the command line."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.api_keys import ApiKey, read_entry, read_file
from stconv.datasets.recipes.fetch import cache_dir

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MEBIBYTE = 1 << 20


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """Settings of one server. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(env_prefix="STCONV_SERVE_", extra="forbid", frozen=True)

    models: dict[str, Path] = Field(
        default_factory=dict, description="Bundle folder by the name clients use."
    )
    versions: dict[str, str] = Field(
        default_factory=dict, description="Version to state, by model; else a part of the bundle's hash."
    )
    data: Annotated[list[Path], NoDecode] = Field(
        default_factory=list, description="Files that GET /v1/forecast starts from; comma-separated."
    )
    state: Path | None = Field(
        default=None,
        description="Folder of stored forecasts and jobs; None: a temporary one, removed at the end.",
    )
    watch_seconds: float = Field(default=10.0, gt=0, description="Between two looks at the data source.")
    archive_backfill: int = Field(
        default=20, gt=0, description="Reference times forecast when nothing is stored yet."
    )
    archive_keep: int = Field(default=200, gt=0, description="Stored forecasts of a model, all versions.")
    archive_days: float | None = Field(default=None, gt=0, description="Their age; None: any.")
    verification_cases: int = Field(
        default=200, gt=0, description="Newest forecasts that the live scores are made of."
    )
    minimum_skill: float | None = Field(
        default=0.0, lt=1, description="Live skill against persistence below which a lead is reported."
    )
    minimum_cases: int = Field(default=10, gt=0, description="Cases of a lead before it is judged.")
    max_jobs: int = Field(default=16, gt=0, description="Jobs that may wait and run.")
    max_job_steps: int = Field(default=10_000, gt=0)
    max_job_values: int = Field(
        default=200_000_000, gt=0, description="Cells x leads x variables of one job's result."
    )
    max_job_bytes: int = Field(
        default=4096 * MEBIBYTE, gt=0, description="All results on disk; the oldest go first."
    )
    job_hours: float = Field(default=24.0, gt=0, description="How long a finished job is kept; then 410.")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)

    api_keys: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="sha256 of each accepted key, hexadecimal, and :SCOPE+SCOPE if not :read+forecast; "
        "comma-separated.",
    )
    keys_file: Path | None = Field(default=None, description="Accepted keys as `stconv key` stores them.")
    bundles: Path | None = Field(
        default=None, description="Folder of bundles that an admin may load by their folder's name."
    )
    cache: Path = Field(
        default_factory=cache_dir, description="Where registered models are kept once loaded."
    )
    requests_per_minute: int | None = Field(
        default=None, gt=0, description="Quota of each key; None: no quota."
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="Pages of other origins that may ask; comma-separated."
    )
    allow_anonymous: bool = Field(default=False, description="Serve without keys beyond loopback.")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Accepted Host headers; empty: loopback names on loopback, else any.",
    )

    max_body_bytes: int = Field(default=64 * MEBIBYTE, gt=0)
    max_decoded_bytes: int = Field(
        default=256 * MEBIBYTE, gt=0, description="Values of one request, decompressed."
    )
    max_output_values: int = Field(
        default=50_000_000, gt=0, description="Cells x leads x variables of one answer."
    )
    max_text_values: int = Field(
        default=5_000_000, gt=0, description="The same of an answer in JSON or CoverageJSON."
    )
    max_steps: int = Field(default=1000, gt=0)
    max_connections: int = Field(default=1000, gt=0)
    header_seconds: float = Field(
        default=10.0, gt=0, description="From a connection to the end of a request's headers."
    )
    answer_seconds: float = Field(
        default=60.0, gt=0, description="In which a client must have taken an answer that is written."
    )
    body_seconds: float = Field(
        default=30.0, gt=0, description="From the first to the last byte of a request."
    )
    parse_seconds: float = Field(
        default=20.0, gt=0, description="Wall clock and processor time of one parse."
    )
    parse_memory_bytes: int = Field(default=1024 * MEBIBYTE, gt=0, description="Address space of one parse.")
    parsers: int = Field(default=2, gt=0, description="Uploads parsed at once.")

    max_batch: int = Field(default=8, gt=0, description="Windows that one model computes together.")
    batch_seconds: float = Field(
        default=0.003, ge=0, description="How long a window waits for others that may join it."
    )
    queue_size: int = Field(
        default=16, gt=0, description="Requests that may wait for a model, besides two batches."
    )
    deadline_seconds: float = Field(default=60.0, gt=0, description="Waiting and computing; then 504.")
    hang_seconds: float = Field(default=120.0, gt=0, description="Computing; then the worker is replaced.")
    load_seconds: float = Field(default=120.0, gt=0, description="A worker's start, with load and warm-up.")
    drain_seconds: float = Field(
        default=30.0, gt=0, description="From SIGTERM to the end of requests under way."
    )
    drain_notice_seconds: float = Field(
        default=0.5, ge=0, description="How long /readyz says no before the port is closed."
    )
    threads: int | None = Field(
        default=None, gt=0, description="Threads of one model; None: as torch chooses."
    )
    engine: Literal["torch", "openvino", "openvino-int8"] = Field(
        default="torch", description="What computes the networks."
    )
    tile: int | None = Field(
        default=None, ge=0, description="Cells of a tile; 0: the grid in one piece; None: by memory."
    )
    imports: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Modules or .py files that register networks outside of stconv; comma-separated. "
        "A bundle that names a module is no reason to import it.",
    )

    @field_validator("data", "imports", "api_keys", "allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _comma_separated(value)

    @field_validator("api_keys")
    @classmethod
    def _entries(cls, value: list[str]) -> list[str]:
        for number, entry in enumerate(value, start=1):
            try:
                read_entry(entry)
            except ValueError as error:
                raise ValueError(f"entry {number} of api_keys: {error}") from error
        return [entry.lower() for entry in value]

    @cached_property
    def keys(self) -> tuple[ApiKey, ...]:
        """All accepted keys.

        Raises:
            ConfigError: `keys_file` cannot be read.
        """
        stored = read_file(self.keys_file) if self.keys_file is not None else []
        return (*map(read_entry, self.api_keys), *stored)

    @model_validator(mode="after")
    def _not_open_to_the_world(self) -> Settings:
        keys = self.keys  # read now: a file that cannot be read is said at the start
        if self.host not in LOOPBACK and not keys and not self.allow_anonymous:
            raise ValueError(
                f"host {self.host} is beyond loopback and no API key is configured. Set "
                "STCONV_SERVE_KEYS_FILE to what `stconv key` writes, STCONV_SERVE_API_KEYS to sha256 hashes, "
                "or say --allow-anonymous if that is meant."
            )
        return self

    @property
    def hosts(self) -> frozenset[str]:
        """Accepted Host names; empty means any. On loopback without keys this is what stops DNS rebinding."""
        if self.allowed_hosts or self.host not in LOOPBACK:
            return frozenset(self.allowed_hosts)
        return frozenset({*LOOPBACK, "[::1]"})

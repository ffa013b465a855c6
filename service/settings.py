"""The settings of a server, from the command line, the environment (`STCONV_SERVE_*`) or files of secrets."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from service.api_keys import read_entry
from service.bearer_tokens import LOOPBACK, Provider
from service.key_ring import KeyRing
from stconv.cache import cache_dir
from stconv.errors import ConfigError

MEBIBYTE = 1 << 20
PREFIX = "stconv_serve_"
"""Beginning of the names of settings in the environment, there in capitals, and of files of secrets."""


def _comma_separated(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.replace("\n", ",").split(",") if part.strip()]


def _check_secrets(folder: Path, known: Container[str]) -> None:
    """Refuse what would be passed over in silence; files of other programs may lie in the folder."""
    if not folder.is_dir():
        raise ConfigError(f"STCONV_SERVE_SECRETS is '{folder}'; expected a folder of files.")
    for path in folder.iterdir():
        name = path.name.lower()
        if not name.startswith(PREFIX):
            continue
        if name.removeprefix(PREFIX) not in known:
            raise ConfigError(f"'{path}' is named after no setting. Check the name, or remove the file.")
        try:
            path.read_text()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"The setting '{path}' cannot be read: {error}. Give a text file that this user may read."
            ) from error


class Settings(BaseSettings):
    """Settings of one server; sizes in bytes, times in seconds unless the name says otherwise.

    Raises:
        ConfigError: A file of secrets cannot be used, or `keys_file` cannot be read.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    models: dict[str, Path] = Field(
        default_factory=dict, description="Bundle folder of each served model, by model name."
    )
    versions: dict[str, str] = Field(
        default_factory=dict,
        description="Version that each model reports, by model name; default: a part of the bundle's hash.",
    )
    data: Annotated[list[Path], NoDecode] = Field(
        default_factory=list,
        description="Files, folders or patterns of the server's own data, comma-separated; default: none.",
    )
    state: Path | None = Field(
        default=None,
        description="Folder of stored forecasts and jobs; default: a temporary folder, removed at shutdown.",
    )
    shared: bool = Field(
        default=False,
        description="Share the folder of the state with other servers that are started with this setting.",
    )
    follow: dict[str, str] = Field(
        default_factory=dict,
        description="Alias of the registry, models:/NAME@ALIAS, that each model follows; default: none.",
    )
    follow_seconds: float = Field(
        default=10.0, gt=0, description="Interval between two checks of a followed alias, s."
    )
    watch_seconds: float = Field(
        default=10.0, gt=0, description="Interval between two checks of the data source, s."
    )
    archive_backfill: int = Field(
        default=20, gt=0, description="Number of past reference times to forecast when none is stored yet."
    )
    archive_keep: int = Field(
        default=200, gt=0, description="Number of stored forecasts to keep per model, over all versions."
    )
    archive_days: float | None = Field(
        default=None, gt=0, description="Age at which stored forecasts are removed, days; default: no limit."
    )
    verification_cases: int = Field(
        default=200, gt=0, description="Number of newest stored forecasts in the live verification."
    )
    minimum_skill: float | None = Field(
        default=0.0,
        lt=1,
        description="Live skill against persistence below which a lead is reported; None: never.",
    )
    minimum_cases: int = Field(
        default=10, gt=0, description="Number of verified forecasts before the skill of a lead is judged."
    )
    max_jobs: int = Field(default=16, gt=0, description="Limit of unfinished jobs, waiting and running.")
    max_job_steps: int = Field(default=10_000, gt=0, description="Limit of leads per job.")
    max_job_values: int = Field(
        default=200_000_000,
        gt=0,
        description="Limit of values (cells x leads x variables) in the result of a job.",
    )
    max_job_bytes: int = Field(
        default=4096 * MEBIBYTE,
        gt=0,
        description="Limit of all stored job results, bytes; the oldest are removed first.",
    )
    job_hours: float = Field(
        default=24.0,
        gt=0,
        description="Hours for which a finished job is kept; afterwards it is answered with 410.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0: a free one.")

    api_keys: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="SHA-256 hashes of the accepted keys, hexadecimal, comma-separated; each may end in "
        ":SCOPE+SCOPE (default: read+forecast).",
    )
    secrets: Path | None = Field(
        default=None,
        description="Folder with a file for each setting that is given there, such as stconv_serve_api_keys.",
    )
    keys_file: Path | None = Field(
        default=None,
        description="File of accepted keys, written by `stconv key`; read again when it changes.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="Address of the OpenID Connect provider whose bearer tokens are accepted; default: none.",
    )
    oidc_audience: str | None = Field(
        default=None, description="Name of this service with the provider, in the claim aud of the tokens."
    )
    oidc_claim: str = Field(
        default="scope",
        description="Claim of the tokens with the scopes; dots lead into objects, as in realm_access.roles.",
    )
    oidc_prefix: str = Field(
        default="stconv:", description="Beginning of the scopes in tokens, as in stconv:forecast."
    )
    audit_file: Path | None = Field(
        default=None,
        description="File of the audit log, at most 6 of 10 MiB; default: standard error, as the other log.",
    )
    bundles: Path | None = Field(
        default=None, description="Folder of bundles that an admin may load by folder name; default: none."
    )
    cache: Path = Field(default_factory=cache_dir, description="Folder for copies of registered models.")
    requests_per_minute: int | None = Field(
        default=None, gt=0, description="Quota of each key, requests per minute; default: no quota."
    )
    requests_at_once: int | None = Field(
        default=None, gt=0, description="Limit of a key's requests under way at this server; default: none."
    )
    bytes_per_minute: int | None = Field(
        default=None,
        gt=0,
        description="Quota of each key, bytes per minute in bodies of requests and answers; default: none.",
    )
    values_per_minute: int | None = Field(
        default=None,
        gt=0,
        description="Quota of each key, computed values (cells x leads x variables) per minute; default: "
        "none.",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Origins of web pages that may call the service, comma-separated; default: none.",
    )
    allow_anonymous: bool = Field(default=False, description="Serve beyond loopback without API keys.")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Accepted Host headers, comma-separated; default: loopback names on loopback, else any.",
    )

    max_body_bytes: int = Field(default=64 * MEBIBYTE, gt=0, description="Limit of a request's body, bytes.")
    max_decoded_bytes: int = Field(
        default=256 * MEBIBYTE, gt=0, description="Limit of an upload's values after decompression, bytes."
    )
    max_output_values: int = Field(
        default=50_000_000, gt=0, description="Limit of values (cells x leads x variables) in an answer."
    )
    max_text_values: int = Field(
        default=5_000_000, gt=0, description="Limit of values in an answer in JSON or CoverageJSON."
    )
    max_spool_bytes: int = Field(
        default=4096 * MEBIBYTE,
        gt=0,
        description="Limit of the answers on disk that wait for slow clients, bytes.",
    )
    max_steps: int = Field(default=1000, gt=0, description="Limit of leads per request.")
    max_connections: int = Field(default=1000, gt=0, description="Limit of open connections.")
    header_seconds: float = Field(
        default=10.0, gt=0, description="Deadline for a request's headers after the connection opened, s."
    )
    answer_seconds: float = Field(
        default=60.0, gt=0, description="Deadline for a client to receive an answer after it was written, s."
    )
    body_seconds: float = Field(default=30.0, gt=0, description="Deadline for a request's body, s.")
    parse_seconds: float = Field(
        default=20.0, gt=0, description="Limit of wall-clock and of processor time to parse an upload, s."
    )
    parse_memory_bytes: int = Field(
        default=1024 * MEBIBYTE, gt=0, description="Limit of memory to parse an upload, bytes."
    )
    parsers: int = Field(default=2, gt=0, description="Number of uploads parsed in parallel.")

    max_batch: int = Field(default=8, gt=0, description="Limit of windows in one batch of a model.")
    batch_seconds: float = Field(
        default=0.003, ge=0, description="Time for which a window waits for others to join its batch, s."
    )
    queue_size: int = Field(
        default=16, gt=0, description="Limit of requests that wait for a model, in addition to two batches."
    )
    deadline_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Deadline for a forecast, waiting included, s; afterwards it is answered with 504.",
    )
    hang_seconds: float = Field(
        default=7.0,
        gt=0,
        description="Time without a sign of life, or for a step of a forecast beyond what it usually takes, "
        "after which the process of a model is replaced, s.",
    )
    load_seconds: float = Field(
        default=120.0, gt=0, description="Deadline for a worker to start, load and warm up, s."
    )
    drain_seconds: float = Field(
        default=30.0, gt=0, description="Time after SIGTERM for running requests to finish, s."
    )
    drain_notice_seconds: float = Field(
        default=0.5, ge=0, description="Time for which /readyz reports 503 before the port is closed, s."
    )
    threads: int | None = Field(
        default=None, gt=0, description="Number of threads per model; default: PyTorch's choice."
    )
    engine: Literal["torch", "openvino", "openvino-int8"] = Field(
        default="torch", description="Engine that computes the networks."
    )
    tile: int | None = Field(
        default=None,
        ge=0,
        description="Edge of a tile, cells; 0: no tiles; default: chosen by the available memory.",
    )
    imports: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Modules or .py files that register networks outside of stconv; comma-separated. "
        "Modules that only a bundle names are not imported.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment, then the files of `secrets`, which the environment names."""
        folder = os.environ.get("STCONV_SERVE_SECRETS")
        if not folder:
            return init_settings, env_settings
        _check_secrets(Path(folder), cls.model_fields)
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=folder)

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

    @property
    def needs_keys(self) -> bool:
        """Whether requests need a key."""
        return bool(self.api_keys) or self.keys_file is not None or self.oidc_issuer is not None

    @property
    def provider(self) -> Provider | None:
        """The provider whose tokens are accepted.

        Raises:
            ConfigError: PyJWT is not installed, or the address is not HTTPS.
        """
        if self.oidc_issuer is None:
            return None
        return Provider(self.oidc_issuer, self.oidc_audience or "", self.oidc_claim, self.oidc_prefix)

    def key_ring(self) -> KeyRing:
        """The accepted keys.

        Raises:
            ConfigError: `keys_file` cannot be read.
        """
        return KeyRing(map(read_entry, self.api_keys), self.keys_file, self.provider)

    @model_validator(mode="after")
    def _not_open_to_the_world(self) -> Settings:
        keys = self.key_ring().accepted()  # read now, so that an unreadable file is an error at startup
        known = keys or self.oidc_issuer is not None
        if self.host not in LOOPBACK and not known and not self.allow_anonymous:
            raise ValueError(
                f"host {self.host} is beyond loopback and no API key is configured. Set "
                "STCONV_SERVE_KEYS_FILE to a file written by `stconv key`, or STCONV_SERVE_API_KEYS to "
                "SHA-256 hashes, or give --allow-anonymous to serve without keys."
            )
        return self

    @model_validator(mode="after")
    def _tokens_of_a_provider_for_us(self) -> Settings:
        if (self.oidc_issuer is None) != (not self.oidc_audience):
            raise ValueError(
                "the address of a token provider and the name of this service there belong together. Set "
                "STCONV_SERVE_OIDC_ISSUER and STCONV_SERVE_OIDC_AUDIENCE, or neither."
            )
        return self

    @model_validator(mode="after")
    def _shares_a_folder_that_stays(self) -> Settings:
        if self.shared and self.state is None:
            raise ValueError("servers share the folder of --state, and none is given. Add --state FOLDER.")
        return self

    @property
    def hosts(self) -> frozenset[str]:
        """Accepted Host names; empty for any. On loopback without keys they prevent DNS rebinding."""
        if self.allowed_hosts or self.host not in LOOPBACK:
            return frozenset(self.allowed_hosts)
        return frozenset({*LOOPBACK, "[::1]"})

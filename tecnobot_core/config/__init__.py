"""The environment, read once, in one place: text, MiB and milliseconds outside; numbers, bytes and seconds inside."""

# ruff: noqa: RUF009  setting() and its like return dataclass fields

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from ..errors import ConfigurationError
from .keys import installation_key
from .kinds import (
    API_URL,
    HOST,
    KEY,
    LINE,
    PATH,
    PORT,
    POSTGRES_URL,
    SECRET,
    SHARE,
    TEMPERATURE,
    TOKEN,
    milliseconds,
    one_of,
    whole,
)
from .kinds import Secret as Secret
from .variables import Variable as Variable
from .variables import many, optional, secret, setting

MIB = 1024 * 1024

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_S = 365 * 86_400

HYSTERESIS = 0.05  # of MemoryManager's levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, as numbers, bytes and seconds. Each field names the variable that fills it, and its default."""

    environment: str = setting(
        "APP_ENV",
        one_of("production", "development", "test"),
        "production",
        "Where the bot runs; decides the form of log lines",
        alias="NODE_ENV",
    )
    log_level: str | None = optional(
        "LOG_LEVEL",
        one_of("debug", "info", "warning", "error", "critical", "off"),
        "What is logged; unset: `info` in development, `warning` elsewhere",
    )
    log_file: Path | None = optional("LOG_FILE", PATH, "Log to this file too; unset: to the standard error stream only")
    log_max_bytes: int = setting(
        "LOG_MAX_BYTES",
        whole("bytes", 1024, 2**40),
        "10485760",
        "The log file is put away when it would grow beyond this",
    )
    log_keep: int = setting("LOG_KEEP", whole("files", 1, 1000), "5", "Log files that are kept beside the one in use")

    memory_limit_bytes: int = setting(
        "MEMORY_LIMIT", whole("MiB", 16, 2**20, scale=MIB), "512", "Memory that the process stays inside"
    )
    memory_warning: float = setting(
        "MEMORY_WARNING", SHARE, "0.8", "Share of the limit at which parts give memory back"
    )
    memory_critical: float = setting(
        "MEMORY_CRITICAL", SHARE, "0.9", "Share of the limit at which new work has to wait"
    )
    memory_recycle_s: float | None = optional(
        "MEMORY_RECYCLE_MS",
        milliseconds(1, DAY_MS),
        "At 0.95 of the limit for so long, end with exit code 75 to be started anew; unset: never",
    )

    max_chat_history: int = setting(
        "MAX_CHAT_HISTORY", whole("messages", 1, 10_000), "5", "Messages of a chat, of both sides, that the model sees"
    )
    rate_limit_max_messages: int = setting(
        "RATE_LIMIT_MAX_MESSAGES",
        whole("messages", 1, 1_000_000),
        "30",
        "Messages of a chat that are admitted in a window",
    )
    rate_limit_cooldown_s: float = setting(
        "RATE_LIMIT_COOLDOWN", milliseconds(1, DAY_MS), "60000", "Length of that window"
    )

    database_url: Secret = secret(
        "DATABASE_URL", POSTGRES_URL, "The PostgreSQL server; unset: a private one in `DATA_DIR`"
    )
    db_pool_min: int = setting("DB_POOL_MIN", whole("connections", 0, 1000), "2", "Database connections kept open")
    db_pool_max: int = setting("DB_POOL_MAX", whole("connections", 1, 1000), "10", "Database connections at most")
    db_pool_idle_s: float = setting(
        "DB_POOL_IDLE_MS",
        milliseconds(0, DAY_MS),
        "30000",
        "An idle connection above the minimum is closed after this; 0: never",
    )
    write_window_s: float = setting(
        "WRITE_WINDOW_MS",
        milliseconds(0, 1000),
        "0",
        "Writes wait this long for others to share a commit; 20 spares the disk",
    )
    postgres_bin_dir: Path | None = optional(
        "POSTGRES_BIN_DIR", PATH, "Programs of the private PostgreSQL; unset: those of the `embedded` extra"
    )
    data_dir: Path = setting("DATA_DIR", PATH, "data", "Folder of everything that the bot keeps")

    cache_max_bytes: int = setting("CACHE_MAX_MB", whole("MiB", 1, 2**20, scale=MIB), "32", "Memory for cached answers")
    cache_ttl_s: Mapping[str, int] = many(
        "CACHE_TTL_", whole("seconds", 1, YEAR_S), "How long the cache policy of this name keeps an answer"
    )
    audio_max_bytes: int = setting(
        "AUDIO_MAX_MB", whole("MiB", 1, 2**20, scale=MIB), "25", "Largest recording that is sent to be transcribed"
    )
    ffmpeg_path: Path | None = optional(
        "FFMPEG_PATH", PATH, "The `ffmpeg` program; unset: the one that the system finds"
    )

    reconnect_base_s: float = setting(
        "RECONNECT_BASE_MS", milliseconds(1, HOUR_MS), "1000", "Wait before the first reconnect; doubles each time"
    )
    reconnect_max_s: float = setting(
        "RECONNECT_MAX_MS", milliseconds(1, DAY_MS), "60000", "Longest wait before a reconnect"
    )
    reconnect_max_attempts: int | None = optional(
        "RECONNECT_MAX_ATTEMPTS",
        whole("attempts", 1, 1_000_000),
        "Reconnects without success before giving up; unset: never",
    )
    heartbeat_s: float = setting(
        "HEARTBEAT_MS", milliseconds(1000, HOUR_MS), "30000", "The link is proved alive this often"
    )
    session_save_s: float = setting(
        "SESSION_SAVE_MS", milliseconds(1000, DAY_MS), "60000", "The WhatsApp session is saved this often"
    )
    whatsapp_session_url: Secret = secret(
        "WHATSAPP_SESSION_URL", POSTGRES_URL, "PostgreSQL for the WhatsApp session; unset: a file in `DATA_DIR`"
    )

    openai_api_key: Secret = secret(
        "OPENAI_API_KEY", SECRET, "Key of the language model's API; a server of your own may need none"
    )
    openai_base_url: str | None = optional(
        "OPENAI_BASE_URL", API_URL, "Any OpenAI-compatible API; unset: https://api.openai.com/v1"
    )
    openai_model: str = setting(
        "OPENAI_MODEL", LINE, "", "Model that answers; unset: answers come from flows and knowledge alone"
    )
    # No default: models that reason refuse a request that names one.
    openai_temperature: float | None = optional(
        "OPENAI_TEMPERATURE",
        TEMPERATURE,
        "How freely it words answers; up to 0.3 they are also cached; unset: not sent, as some models refuse it",
    )
    transcription_model: str = setting("TRANSCRIPTION_MODEL", LINE, "", "Model that hears voice notes")

    secret_key: Secret = secret(
        "SECRET_KEY",
        KEY,
        "For keyed hashes and encryption; unset: made once, kept in `DATA_DIR`. WhatsApp with `DATABASE_URL` needs it",
    )
    web_token: Secret = secret("WEB_TOKEN", TOKEN, "Opens the web pages and the API")
    metrics_token: Secret = secret("METRICS_TOKEN", TOKEN, "Opens the metrics and nothing else")
    web_host: str = setting(
        "WEB_HOST", HOST, "127.0.0.1", "Address that the web server listens on; others than loopback need `WEB_TOKEN`"
    )
    web_port: int = setting("WEB_PORT", PORT, "8000", "Port that it listens on; 0: any free one")
    alerts: Mapping[str, Secret] = many("ALERT_", SECRET, "Where alerts go, and when")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read *environ*, by default the environment of the process.

        Raises one ConfigurationError with a sentence for every bad variable.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        bad: set[str] = set()
        problems: list[str] = []
        for name, variable in cls.variables().items():
            try:
                value = variable.read(environ)
            except ConfigurationError as error:
                bad.add(name)
                problems += error.problems
            else:
                if value is not None:
                    values[name] = MappingProxyType(value) if variable.many else value
        settings = cls(**values)
        problems += (problem for names, problem in _conflicts(settings) if bad.isdisjoint(names))
        if problems:
            raise ConfigurationError(problems)
        return settings

    @classmethod
    def variables(cls) -> Mapping[str, Variable]:
        """The variable of each field, in the order of the fields."""
        return {field.name: field.metadata["variable"] for field in fields(cls)}


def secret_key(settings: Settings) -> bytes:
    """The key of this installation, 32 bytes; made and kept in ``data_dir`` when SECRET_KEY is unset.

    Raises ConfigurationError when it cannot be kept.
    """
    return installation_key(settings.secret_key.reveal(), settings.data_dir)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach *host*; names are not looked up, so but "localhost" none is."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _conflicts(settings: Settings) -> Iterator[tuple[set[str], str]]:
    """What variables say against each other: the fields that they fill, and a sentence."""
    s = settings
    if s.memory_warning <= HYSTERESIS:
        yield (
            {"memory_warning"},
            f"MEMORY_WARNING is {s.memory_warning:g}; wanted is more than {HYSTERESIS}: a level is left only that much"
            " below where it begins",
        )
    if s.memory_warning >= s.memory_critical:
        yield (
            {"memory_warning", "memory_critical"},
            f"MEMORY_WARNING is {s.memory_warning:g}; wanted is less than MEMORY_CRITICAL, {s.memory_critical:g}",
        )
    if s.db_pool_min > s.db_pool_max:
        yield (
            {"db_pool_min", "db_pool_max"},
            f"DB_POOL_MIN is {s.db_pool_min}; wanted is at most DB_POOL_MAX, {s.db_pool_max}",
        )
    if s.reconnect_base_s > s.reconnect_max_s:
        base_ms, max_ms = round(s.reconnect_base_s * 1000), round(s.reconnect_max_s * 1000)
        yield (
            {"reconnect_base_s", "reconnect_max_s"},
            f"RECONNECT_BASE_MS is {base_ms}; wanted is at most RECONNECT_MAX_MS, {max_ms}",
        )
    if not s.web_token and not is_loopback(s.web_host):
        yield (
            {"web_token", "web_host"},
            f"WEB_HOST is {s.web_host!r}, which others can reach; wanted is a WEB_TOKEN, or the host 127.0.0.1",
        )

"""How the server is set up: small, durable, and reachable by nobody else."""

import sys
from collections.abc import Iterator, Mapping

from ...errors import ConfigurationError

IS_LINUX = sys.platform == "linux"

PORT = 5432  # a part of the socket's name; nothing listens there
USER = "postgres"

# The working directory, so that folders above, such as /root, need not let the server's user through.
DATA_DIRECTORY = "/proc/self/cwd" if IS_LINUX else None

# For one bot in 512 MB: at rest 10 MB PSS instead of the 22 MB of PostgreSQL's defaults.
_SMALL = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "16MB",
    # For two chatbots, each with its old and its new process while they change over, and pools of 10. One costs 33 kB
    # at rest, used or not (measured: 20 make 9.0 MB PSS, 30 9.4, 40 9.7, 100 11.6).
    "max_connections": "40",
    "work_mem": "2MB",
    "maintenance_work_mem": "16MB",
    "effective_cache_size": "64MB",
    "huge_pages": "off",
    "jit": "off",
    "random_page_cost": "1.1",
    "autovacuum_max_workers": "1",
    "max_worker_processes": "2",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "wal_buffers": "256kB",
    "wal_compression": "on",  # whole pages were a third of it at 100 messages a second
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
    "checkpoint_timeout": "15min",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",  # statements hold what people wrote; it does not belong in a log
    "cluster_name": "tecnobot",
}
_SMALL_SINCE_18 = {"io_method": "sync", "autovacuum_worker_slots": "1"}
# One call instead of one for each of a thousand files, which takes seconds on a disk that others use, too.
_LINUX = {"recovery_init_sync_method": "syncfs"}
_INITDB_LINUX_SINCE_17 = "--sync-method=syncfs"

_PRIVATE = {
    "listen_addresses": "",
    "unix_socket_directories": "..",  # as seen from the data directory, so it is never too long
    "unix_socket_permissions": "0700",
    "port": str(PORT),
}


def check_options(options: Mapping[str, str]) -> None:
    """ConfigurationError for options that would open the server to others."""
    if fixed := sorted(_PRIVATE.keys() & options.keys()):
        raise ConfigurationError(
            f"{', '.join(fixed)} cannot be set: an embedded server listens on its own Unix socket only; "
            "for a server that others reach, run one and set DATABASE_URL"
        )


def server_arguments(major_version: int, options: Mapping[str, str]) -> Iterator[str]:
    """The command line of ``postgres`` of *major_version*; *options* win over the small ones."""
    newer = _SMALL_SINCE_18 if major_version >= 18 else {}
    system = _LINUX if IS_LINUX else {}
    for name, value in {**_SMALL, **newer, **system, **options, **_PRIVATE}.items():
        yield from ("-c", f"{name}={value}")


def initdb_arguments(major_version: int) -> Iterator[str]:
    """The command line of ``initdb``: UTF-8, checksums, and case rules that do not depend on the machine."""
    yield from (f"--username={USER}", "--encoding=UTF8", "--data-checksums", "--no-instructions")
    yield "--no-clean"  # so that a full disk still shows as full when it fails; the caller removes the rest
    # Whoever gets through the folder's 0700 to the socket is its owner or root; passwords would add nothing.
    yield from ("--auth-local=trust", "--auth-host=reject")
    if major_version >= 17:
        yield from ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        if IS_LINUX:
            yield _INITDB_LINUX_SINCE_17
    else:
        yield "--locale=C.UTF-8"

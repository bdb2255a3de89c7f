"""Take limits, end with the parent, become the program: run on its own, with nothing but the standard library.

Not a ``preexec_fn``: that is Python between fork and exec, in a copy of a process whose threads may hold locks. And not
``prlimit`` from outside: the program would run for a while without limits, and outlive a parent that is killed.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
STACK_BYTES = 2 * 1024 * 1024  # every thread takes as much address space as the first may, by default 8 MiB
OOM_SCORE = "900"  # of 1000: when memory is short, the kernel takes this one and not the bot


def become(parent_pid: int, address_bytes: int, cpu_s: int, file_bytes: int, command: list[str]) -> None:
    """Run *command*; on Linux it is killed when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            with open("/proc/self/oom_score_adj", "w") as score:
                score.write(OOM_SCORE)
        except OSError:
            pass  # a container may forbid it
    if os.getppid() != parent_pid:
        sys.exit(f"process {parent_pid} is gone")
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_CPU, cpu_s, more=2)  # asked to stop first, so that it can be told from a kill
    limit(resource.RLIMIT_FSIZE, file_bytes)
    if sys.platform == "linux":  # elsewhere address space is no measure of memory
        limit(resource.RLIMIT_AS, address_bytes)
        limit(resource.RLIMIT_STACK, STACK_BYTES)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and the program would inherit it
    # Nothing of the bot's environment: it holds secrets, and FFREPORT and the like would change what is done. With one
    # arena a thread of the C library does not take another 64 MiB of address space.
    os.execve(command[0], command, {"LC_ALL": "C", "TZ": "UTC", "MALLOC_ARENA_MAX": "1"})


def limit(kind: int, value: int, more: int = 0) -> None:
    """Lower a limit to *value*, and what it can be raised to, to *more* than that; one that is lower stays."""
    _, most = resource.getrlimit(kind)
    known = [value + more] if most == resource.RLIM_INFINITY else [value + more, most]
    resource.setrlimit(kind, (min(value, *known), min(known)))


if __name__ == "__main__":
    numbers = [int(number) for number in sys.argv[1:5]]
    try:
        become(numbers[0], numbers[1], numbers[2], numbers[3], sys.argv[5:])
    except OSError as error:
        print(f"cannot run {sys.argv[5]}: {error.strerror}", file=sys.stderr)  # noqa: T201  # to whoever started it
        sys.exit(127)

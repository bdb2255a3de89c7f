"""Leave root, leave with the parent, become the program: run on its own, with nothing but the standard library.

Not a ``preexec_fn``: that is Python between fork and exec, in a copy of a process whose threads may hold locks. And it
keeps the order: the kernel forgets the signal when the user changes, and a parent may be gone before it is asked for.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def become(parent_pid: int, uid: int, gid: int, death_signal: int, stale_pid: int, command: list[str]) -> None:
    """Run *command* as *uid* and *gid*; on Linux it gets *death_signal* when the thread that started it ends."""
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent_pid:
        sys.exit(f"process {parent_pid} is gone")
    # Nothing of the bot's environment: it holds secrets, and PGPORT and the like would change the server.
    # PostgreSQL takes this "grandparent" in a lock file for a remnant, instead of refusing to start beside a stranger
    # who got the pid of an ended server; that the server has really ended is the caller's to know.
    os.execve(command[0], command, {"LC_ALL": "C", "TZ": "UTC", "PG_GRANDPARENT_PID": str(stale_pid)})


if __name__ == "__main__":
    parent_pid, uid, gid, death_signal, stale_pid = map(int, sys.argv[1:6])
    try:
        become(parent_pid, uid, gid, death_signal, stale_pid, sys.argv[6:])
    except OSError as error:
        sys.exit(f"cannot run {sys.argv[6]} as uid {uid}: {error.strerror}")

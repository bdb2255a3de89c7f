"""How much is used, and how much is allowed: processes, children, control groups of both versions."""

import contextlib
import gc
import json
import logging
import mmap
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tecnobot_core import ConfigurationError, MemoryManager
from tecnobot_core.memory import read_peak_rss_bytes, read_rss_bytes
from tecnobot_core.memory.containers import find_containers
from tecnobot_core.memory.reading import ResidentMemory

MIB = 1024 * 1024
NONE_V1 = 9223372036854771712
V1_MOUNT = "35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
V2_MOUNT = "41 31 0:38 {top} {point} rw,relatime - cgroup2 cgroup2 rw\n"


def v1(tree: Path, path: str, *, limit: int, used: int = 0, inactive: int = 0, hierarchical: int = NONE_V1) -> Path:
    folder = tree / "sys/fs/cgroup/memory" / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    stat = f"cache 5\ninactive_file 1\nhierarchical_memory_limit {hierarchical}\ntotal_inactive_file {inactive}\n"
    (folder / "memory.stat").write_text(stat)
    return folder


def v2(
    tree: Path, path: str, *, limit: str = "max", high: str = "max", used: int = 0, inactive: int = 0, at: str = ""
) -> Path:
    folder = tree / (at or "sys/fs/cgroup") / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.high").write_text(f"{high}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 7\ninactive_file {inactive}\nactive_file 3\n")
    return folder


def process(tree: Path, cgroup: str, mountinfo: str, *, rss_bytes: int = 10 * MIB) -> None:
    self = tree / "proc/self"
    self.mkdir(parents=True)
    (self / "cgroup").write_text(cgroup)
    (self / "mountinfo").write_text("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" + mountinfo)
    (self / "statm").write_text(f"99999 {rss_bytes // mmap.PAGESIZE} 100 1 0 200 0\n")


def limits(tree: Path) -> list[int]:
    return [container.limit_bytes for container in find_containers(tree)]


def test_version_1_limits_are_found_from_our_group_up(tmp_path: Path) -> None:
    process(tmp_path, "9:name=systemd:/\n4:memory:/pod/app\n0::/\n", V1_MOUNT.format(top="/"))
    v1(tmp_path, "", limit=NONE_V1)
    v1(tmp_path, "pod", limit=700 * MIB)
    v1(tmp_path, "pod/app", limit=900 * MIB)
    assert limits(tmp_path) == [900 * MIB, 700 * MIB]


def test_version_1_tells_a_limit_of_groups_that_cannot_be_seen(tmp_path: Path) -> None:
    process(tmp_path, "4:memory:/docker/abc\n", V1_MOUNT.format(top="/docker/abc"))
    v1(tmp_path, "", limit=NONE_V1, hierarchical=300 * MIB)
    assert limits(tmp_path) == [300 * MIB]
    (tmp_path / "proc/self/mountinfo").write_text(V1_MOUNT.format(top="/"))  # a folder that is not there
    assert limits(tmp_path) == [300 * MIB]


def test_version_2_limits_are_max_or_high_whichever_is_smaller(tmp_path: Path) -> None:
    process(tmp_path, "0::/pod/app\n", V2_MOUNT.format(top="/", point="/sys/fs/cgroup"))
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)  # the root of version 2 has no such files
    v2(tmp_path, "pod", limit=str(512 * MIB), high=str(400 * MIB))
    v2(tmp_path, "pod/app", high=str(600 * MIB))
    assert limits(tmp_path) == [600 * MIB, 400 * MIB]


def test_inside_a_container_our_group_is_the_top_of_the_mount(tmp_path: Path) -> None:
    for number, (cgroup, top) in enumerate(
        (("/", "/"), ("/docker/abc", "/docker/abc"), ("/docker/abc", "/"), ("/../x", "/"))
    ):
        tree = tmp_path / str(number)
        process(tree, f"0::{cgroup}\n", V2_MOUNT.format(top=top, point="/sys/fs/cgroup"))
        v2(tree, "", limit=str(256 * MIB))
        assert limits(tree) == [256 * MIB], (cgroup, top)


def test_with_both_versions_mounted_each_is_asked(tmp_path: Path) -> None:
    mounts = V1_MOUNT.format(top="/") + V2_MOUNT.format(top="/", point="/sys/fs/cgroup/unified")
    process(tmp_path, "4:memory:/app\n0::/app\n", mounts)
    v1(tmp_path, "", limit=NONE_V1)
    v1(tmp_path, "app", limit=300 * MIB)
    (tmp_path / "sys/fs/cgroup/unified/app").mkdir(parents=True)  # mounted, without the memory controller
    assert limits(tmp_path) == [300 * MIB]
    v2(tmp_path, "app", limit=str(200 * MIB), at="sys/fs/cgroup/unified")
    assert limits(tmp_path) == [300 * MIB, 200 * MIB]


def test_names_with_blanks_are_found(tmp_path: Path) -> None:
    process(tmp_path, "0::/my app\n", V2_MOUNT.format(top="/", point="/sys/fs/my\\040cgroup"))
    v2(tmp_path, "my app", limit=str(64 * MIB), at="sys/fs/my cgroup")
    assert limits(tmp_path) == [64 * MIB]


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert find_containers(tmp_path) == []
    process(tmp_path, "0::/\n", "nonsense\n")
    assert find_containers(tmp_path) == []


def test_a_smaller_container_counts_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process(tmp_path, "0::/\n", V2_MOUNT.format(top="/", point="/sys/fs/cgroup"))
    v2(tmp_path, "", limit=str(256 * MIB), used=100 * MIB)
    memory = MemoryManager(512 * MIB, root=tmp_path)
    statistics = memory.statistics()
    assert (statistics.limit_bytes, statistics.limit_source) == (256 * MIB, "container")
    memory.statistics()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert "512 MiB" in told[0]
    assert "256 MiB" in told[0]


def test_a_bigger_container_leaves_the_setting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process(tmp_path, "0::/\n", V2_MOUNT.format(top="/", point="/sys/fs/cgroup"))
    v2(tmp_path, "", limit=str(1024 * MIB))
    statistics = MemoryManager(512 * MIB, root=tmp_path).statistics()
    assert (statistics.limit_bytes, statistics.limit_source) == (512 * MIB, "setting")
    assert not caplog.records


def test_the_worse_of_process_and_container_counts(tmp_path: Path) -> None:
    process(tmp_path, "0::/\n", V2_MOUNT.format(top="/", point="/sys/fs/cgroup"), rss_bytes=100 * MIB)
    folder = v2(tmp_path, "", limit=str(1024 * MIB), used=900 * MIB, inactive=100 * MIB)
    memory = MemoryManager(512 * MIB, root=tmp_path)
    statistics = memory.statistics()
    assert statistics.used_bytes == 400 * MIB  # 800 of 1024, as a share of 512
    assert (statistics.rss_bytes, statistics.container_bytes) == (100 * MIB, 400 * MIB)
    (folder / "memory.current").write_text(str(200 * MIB))
    assert memory.statistics().used_bytes == 100 * MIB


def test_the_fuller_of_nested_groups_counts(tmp_path: Path) -> None:
    process(tmp_path, "4:memory:/pod/app\n", V1_MOUNT.format(top="/"))
    v1(tmp_path, "", limit=NONE_V1)
    v1(tmp_path, "pod", limit=400 * MIB, used=390 * MIB, inactive=10 * MIB)  # a neighbour in it is big
    v1(tmp_path, "pod/app", limit=200 * MIB, used=40 * MIB)
    statistics = MemoryManager(512 * MIB, root=tmp_path).statistics()
    assert (statistics.limit_bytes, statistics.used_bytes) == (200 * MIB, 190 * MIB)


def test_a_group_that_vanishes_is_told_and_read_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process(tmp_path, "0::/\n", V2_MOUNT.format(top="/", point="/sys/fs/cgroup"))
    folder = v2(tmp_path, "", limit=str(512 * MIB), used=400 * MIB)
    memory = MemoryManager(512 * MIB, root=tmp_path)
    assert memory.statistics().used_bytes == 400 * MIB
    (folder / "memory.current").write_text("")
    assert memory.statistics().used_bytes == 10 * MIB
    assert memory.statistics().used_bytes == 10 * MIB
    assert len(caplog.records) == 1


async def test_a_limit_below_what_the_process_needs_to_start_is_a_configuration_error(tmp_path: Path) -> None:
    process(tmp_path, "0::/\n", V2_MOUNT.format(top="/", point="/sys/fs/cgroup"), rss_bytes=60 * MIB)
    with pytest.raises(ConfigurationError, match=r"MEMORY_LIMIT is 64 MiB.* takes 60 MiB.*at least 75 MiB"):
        async with MemoryManager(64 * MIB, root=tmp_path):
            pass
    async with MemoryManager(75 * MIB, root=tmp_path):
        pass
    v2(tmp_path, "", limit=str(32 * MIB))
    with pytest.raises(ConfigurationError, match="the memory limit of the container is 32 MiB"):
        async with MemoryManager(512 * MIB, root=tmp_path):
            pass


def test_the_reading_is_the_resident_size_of_this_process() -> None:
    ballast = bytearray(b"x" * 50_000_000)
    assert read_rss_bytes() > len(ballast)


def test_the_peak_stays_when_memory_is_given_back() -> None:
    ballast = bytearray(b"x" * 50_000_000)
    with_ballast = read_rss_bytes()
    del ballast
    assert read_peak_rss_bytes() >= with_ballast > read_rss_bytes() + 25_000_000
    assert MemoryManager(2**40).statistics().peak_bytes >= with_ballast


def test_kept_descriptors_agree_with_psutil() -> None:
    memory = ResidentMemory()
    ballast = bytearray(b"x" * 50_000_000)
    assert memory.read() == pytest.approx(psutil.Process().memory_info().rss, abs=2 * MIB)
    del ballast
    assert memory.read() == pytest.approx(psutil.Process().memory_info().rss, abs=2 * MIB)


def test_without_proc_psutil_is_asked(tmp_path: Path) -> None:
    statistics = MemoryManager(2**40, root=tmp_path).statistics()
    assert statistics.rss_bytes == pytest.approx(read_rss_bytes(), abs=2 * MIB)
    with child() as pid:
        memory = MemoryManager(2**40, root=tmp_path)
        memory.register_child(pid)
        assert memory.statistics().children_bytes > 4 * MIB
    assert memory.statistics().children_bytes == 0


@contextlib.contextmanager
def child() -> Iterator[int]:
    """A process that holds some memory; gone, and waited for, at the end."""
    script = "import sys; ballast = bytearray(b'x' * 20_000_000); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield running.pid
        running.kill()


def test_registered_children_count_until_they_end() -> None:
    memory = MemoryManager(2**40)
    with child() as pid:
        memory.register_child(pid)
        statistics = memory.statistics()
        assert statistics.children_bytes > 20_000_000
        assert statistics.used_bytes >= statistics.rss_bytes + statistics.children_bytes
        memory.unregister_child(pid)
        assert memory.statistics().children_bytes == 0
        memory.register_child(pid)
    assert memory.statistics().children_bytes == 0
    memory.register_child(pid)  # one that has ended before it was registered
    with pytest.raises(ValueError, match="pid"):
        memory.register_child(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_child_reads_itself() -> None:
    memory = ResidentMemory()
    memory.read()
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        ballast = bytearray(b"x" * 200_000_000)
        os.write(writer, str(memory.read()).encode())
        os._exit(len(ballast) and 0)
    os.waitpid(pid, 0)
    told = int(os.read(reader, 100))
    os.close(reader)
    os.close(writer)
    assert told > memory.read() + 100_000_000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
async def test_closing_gives_the_descriptors_back(tmp_path: Path) -> None:
    process(tmp_path, "0::/\n", V2_MOUNT.format(top="/", point="/sys/fs/cgroup"))
    v2(tmp_path, "", limit=str(512 * MIB), used=400 * MIB)
    memory = MemoryManager(512 * MIB, root=tmp_path)
    async with memory:
        assert len(descriptors_into(tmp_path)) == 3
    assert descriptors_into(tmp_path) == []
    assert memory.statistics().used_bytes == 400 * MIB
    del memory
    gc.collect()
    assert descriptors_into(tmp_path) == []


def descriptors_into(tree: Path) -> list[str]:
    """What this process has open in *tree*."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            found.append(os.readlink(link))
    return [path for path in found if path.startswith(str(tree))]


GROUP_SCRIPT = """
import json, pathlib
from tecnobot_core.memory import MemoryManager
memory = MemoryManager(512 * 2**20)
before = memory.statistics()
ballast = bytearray(b"x" * 60_000_000)
tmpfs = pathlib.Path("/dev/shm", "{name}")
try:
    tmpfs.write_bytes(b"x" * 80_000_000)  # memory that RSS does not show
    after = memory.statistics()
finally:
    tmpfs.unlink(missing_ok=True)
print(json.dumps([before.limit_bytes, before.limit_source, before.used_bytes, after.used_bytes, after.rss_bytes]))
"""


@contextlib.contextmanager
def real_group(limit_bytes: int) -> Iterator[Path]:
    """A new control group of this machine with a limit; skips where none can be made."""
    for parent, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(parent, f"tecnobot-test-{uuid.uuid4().hex}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(limit_bytes))
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            group.rmdir()
        return
    pytest.skip("no control group can be made here: that needs root and a writable hierarchy")


def test_in_a_real_group_its_limit_and_its_use_count() -> None:
    with real_group(256 * MIB) as group:
        enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"
        script = enter + GROUP_SCRIPT.replace("{name}", group.name)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        limit, source, before, after, rss = json.loads(done.stdout)
    assert (limit, source) == (256 * MIB, "container")
    assert before < 100_000_000 < 138_000_000 < after
    assert after > rss + 60_000_000

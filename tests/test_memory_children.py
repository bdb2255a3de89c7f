"""What is reserved for a child process is not counted again when readings show it."""

import asyncio
import mmap
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tecnobot_core import MemoryManager
from tecnobot_core.memory import Priority

MIB = 1024 * 1024
FFMPEG, OTHER = 4321, 4322


class Tree:
    """A /proc in which the test sets what this process and its children hold."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.holds("self", 120 * MIB)

    def holds(self, pid: int | str, n_bytes: int) -> None:
        folder = self.root / f"proc/{pid}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "statm").write_text(f"99999 {n_bytes // mmap.PAGESIZE} 100 1 0 200 0\n")

    def ends(self, pid: int) -> None:
        (self.root / f"proc/{pid}/statm").write_text("")  # as a descriptor reads whose process is gone

    def manager(self, limit_mib: int = 256) -> MemoryManager:
        return MemoryManager(limit_mib * MIB, root=self.root, find_trim=lambda: None, max_wait_s=0.05)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def expected_mib(memory: MemoryManager) -> float:
    return memory.statistics().reservations.expected_bytes / MIB


async def test_a_lease_counts_what_readings_do_not_show_of_its_child(tree: Tree) -> None:
    memory = tree.manager()
    async with memory.reserve(56 * MIB) as lease:
        seen = [expected_mib(memory)]
        tree.holds(FFMPEG, 8 * MIB)
        lease.covers(FFMPEG)
        for n_mib in (8, 40, 60):
            tree.holds(FFMPEG, n_mib * MIB)
            seen.append(expected_mib(memory))
        assert memory.statistics().children_bytes == 60 * MIB
        tree.ends(FFMPEG)
        seen.append(expected_mib(memory))
    assert seen == [56, 48, 16, 0, 56]  # in the end for the next child
    assert expected_mib(memory) == 0


async def test_caches_give_nothing_up_for_bytes_that_are_counted_already(tree: Tree) -> None:
    memory = tree.manager()  # critical at 230 MiB
    cache_mib, freed = 40, []

    def release(wanted_bytes: int) -> int:
        nonlocal cache_mib
        freed.append(wanted_bytes)
        given = min(-(-wanted_bytes // MIB), cache_mib)
        cache_mib -= given
        tree.holds("self", (120 + cache_mib) * MIB)
        return given * MIB

    tree.holds("self", 160 * MIB)
    memory.register("cache", release, priority=Priority.REPLIES)
    async with memory.reserve(56 * MIB) as lease:
        tree.holds(FFMPEG, 40 * MIB)
        lease.covers(FFMPEG)
        async with memory.reserve(14 * MIB):  # 160 + 40, and 16 to come
            pass
    assert freed == []


async def test_a_child_counts_for_one_lease_and_once_however_often_it_is_registered(tree: Tree) -> None:
    memory = tree.manager()
    tree.holds(FFMPEG, 40 * MIB)
    async with memory.reserve(56 * MIB) as first, memory.reserve(50 * MIB) as second:
        memory.register_child(FFMPEG)
        first.covers(FFMPEG)
        first.covers(FFMPEG)
        memory.register_child(FFMPEG)
        assert expected_mib(memory) == 16 + 50
        assert memory.statistics().children_bytes == 40 * MIB
        second.covers(FFMPEG)
        assert expected_mib(memory) == 56 + 10


async def test_two_children_of_one_lease_and_what_landed_count_together(tree: Tree) -> None:
    memory = tree.manager()
    tree.holds(FFMPEG, 20 * MIB)
    tree.holds(OTHER, 10 * MIB)
    async with memory.reserve(56 * MIB) as lease:
        lease.covers(FFMPEG)
        lease.covers(OTHER)
        lease.landed(6 * MIB)
        assert expected_mib(memory) == 20
        memory.unregister_child(OTHER)
        assert expected_mib(memory) == 30


async def test_a_number_that_another_process_has_now_is_not_the_old_child(tree: Tree) -> None:
    memory = tree.manager()
    tree.holds(FFMPEG, 40 * MIB)
    async with memory.reserve(56 * MIB) as lease:
        lease.covers(FFMPEG)
        tree.ends(FFMPEG)
        (tree.root / f"proc/{FFMPEG}/statm").unlink()
        tree.holds(FFMPEG, 30 * MIB)
        memory.register_child(FFMPEG)
        assert (expected_mib(memory), memory.statistics().children_bytes) == (56, 30 * MIB)


async def test_a_child_that_has_ended_and_a_lease_that_was_given_back_are_no_error(tree: Tree) -> None:
    memory = tree.manager()
    async with memory.reserve(56 * MIB) as lease:
        ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        await ended.wait()
        lease.covers(ended.pid)
        assert expected_mib(memory) == 56
        with pytest.raises(ValueError, match="pid must be at least 1"):
            lease.covers(0)
    tree.holds(FFMPEG, 40 * MIB)
    lease.covers(FFMPEG)
    statistics = memory.statistics()
    assert (statistics.children_bytes, statistics.reservations.expected_bytes) == (40 * MIB, 0)


async def test_with_a_probe_a_lease_counts_in_full(tree: Tree) -> None:
    memory = MemoryManager(256 * MIB, probe=lambda: 100 * MIB, root=tree.root)
    tree.holds(FFMPEG, 40 * MIB)
    async with memory.reserve(56 * MIB) as lease:
        lease.covers(FFMPEG)
        lease.covers(FFMPEG)
        assert expected_mib(memory) == 56


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
async def test_a_real_child_is_covered_while_it_lives() -> None:
    memory = MemoryManager(2**40)
    script = "import sys; ballast = bytearray(b'x' * 40_000_000); print(1, flush=True); sys.stdin.read()"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=PIPE, stdout=PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    async with memory.reserve(100 * MIB) as lease:
        lease.covers(child.pid)
        covered = memory.statistics()
        child.kill()
        await child.communicate()
        assert expected_mib(memory) == 100
    assert 40_000_000 < covered.children_bytes < 80_000_000
    assert covered.reservations.expected_bytes == 100 * MIB - covered.children_bytes

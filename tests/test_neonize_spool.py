"""The spool: what was written is there, whatever happened to the process."""

import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tecnobot_core.adapters.neonize.child import spool as spool_module
from tecnobot_core.adapters.neonize.child.spool import Spool

WRITER = """
import sys
from pathlib import Path
from tecnobot_core.adapters.neonize.child.spool import Spool
spool = Spool(Path(sys.argv[1]), compact_above_bytes=2000)
for number in range(10**6):
    spool.add({"id": f"m{number}", "text": "x" * (number % 97)})
    if number % 3 == 0:
        spool.acknowledge([f"m{number}"])
        print("acknowledged", number, flush=True)
    else:
        print("added", number, flush=True)
"""


def message(name: str, text: str = "hola") -> dict[str, Any]:
    return {"id": name, "text": text}


def waiting(spool: Spool) -> list[str]:
    return [frame["id"] for _, frame in spool.after(0, 10**9)]


@contextmanager
def opened(path: Path, compact_above_bytes: int = 10**9) -> Iterator[Spool]:
    with closing(Spool(path, compact_above_bytes=compact_above_bytes)) as spool:
        yield spool


def test_what_was_added_is_there_after_a_restart_until_it_is_acknowledged(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        assert all(spool.add(message(name, "sí 👍")) for name in "abc")
        spool.acknowledge(["b", "unknown", "b"])
    with opened(tmp_path / "spool") as spool:
        assert [frame for _, frame in spool.after(0, 10)] == [message("a", "sí 👍"), message("c", "sí 👍")]
        assert len(spool) == 2


def test_a_message_that_was_seen_is_not_added_again(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        spool.add(message("a"))
        spool.acknowledge(["a"])
        spool.note_seen("ignored")
    with opened(tmp_path / "spool") as spool:
        assert not spool.add(message("a"))
        assert spool.has_seen("ignored")
        assert not spool.has_seen("b")


def test_messages_are_read_behind_the_one_that_was_read_last_whatever_was_acknowledged(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        for name in "abcd":
            spool.add(message(name))
        number, _ = spool.after(0, 2)[-1]
        spool.acknowledge(["a", "b"])
        assert [frame["id"] for _, frame in spool.after(number, 10)] == ["c", "d"]
        assert spool.count_up_to(number) == 0


def test_what_a_crash_cut_off_is_dropped_and_what_was_before_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    ends = []
    with opened(path) as spool:
        for name in "abc":
            spool.add(message(name))
            ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with opened(path) as spool:
            assert len(waiting(spool)) == sum(end <= length for end in ends)
            assert spool.add(message("next"))
        with opened(path) as spool:
            assert waiting(spool)[-1] == "next"


def test_what_a_disk_damaged_costs_no_record_behind_it_and_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with opened(path) as spool:
        ends = [0]
        for name in "abc":
            spool.add(message(name, 'a text with {" in it'))
            ends.append(path.stat().st_size)
        spool.begin_sending("key")
    whole = path.read_bytes()
    for place in range(ends[1], ends[2]):  # in the middle: its length, its checksum, its body
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with opened(path) as spool:
            assert waiting(spool) == ["a", "c"]
            assert spool.outcome("key") == ("begun", "")
            assert spool.damaged_bytes == ends[2] - ends[1]
        assert path.with_suffix(".damaged").read_bytes() == damaged
        with opened(path) as spool:
            assert (waiting(spool), spool.damaged_bytes) == (["a", "c"], 0)


def test_a_damaged_end_is_taken_for_torn(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with opened(path) as spool:
        spool.add(message("a"))
        end = path.stat().st_size
        spool.add(message("b"))
    data = bytearray(path.read_bytes())
    data[end + 20] ^= 1
    path.write_bytes(data)
    with opened(path) as spool:
        assert (waiting(spool), spool.damaged_bytes) == (["a"], 0)
        assert path.stat().st_size == end


def test_the_file_stays_small_and_keeps_what_counts(tmp_path: Path) -> None:
    with opened(tmp_path / "spool", compact_above_bytes=4000) as spool:
        spool.add(message("first"))
        spool.begin_sending("begun")
        for number in range(300):
            spool.add(message(f"m{number}", "x" * 100))
            spool.acknowledge([f"m{number}"])
        assert spool.add(message("last"))
        assert waiting(spool) == ["first", "last"]
    assert (tmp_path / "spool").stat().st_size < 20_000
    with opened(tmp_path / "spool") as spool:
        assert waiting(spool) == ["first", "last"]
        assert not spool.add(message("m299"))
        assert spool.outcome("begun") == ("begun", "")


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MAX_SEEN", 10)
    monkeypatch.setattr(spool_module, "MAX_OUTCOMES", 10)
    with opened(tmp_path / "spool") as spool:
        for number in range(30):
            spool.note_seen(str(number))
            spool.end_sending(str(number), "sent", "id")
        assert [spool.has_seen(str(n)) for n in (19, 20)] == [False, True]
        assert [spool.outcome(str(n)) is None for n in (19, 20)] == [True, False]


def test_what_arrived_and_was_not_taken_in_is_told_once_by_the_next_process(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        for name in ("taken", "left out", "lost"):
            spool.note_arriving(name, "a@lid", 1.0)
        assert spool.add(message("taken"))
        spool.note_seen("left out")
        assert spool.lost_arrivals() == []  # they may still be on their way
    with opened(tmp_path / "spool", compact_above_bytes=1) as spool:
        spool.note_arriving("new", "a@lid", 1.0)
        spool.acknowledge(["taken"])
        assert spool.lost_arrivals() == [("lost", "a@lid")]
        assert spool.lost_arrivals() == []
        assert not spool.add(message("lost"))
        spool.add(message("new"))
    with opened(tmp_path / "spool") as spool:
        assert spool.lost_arrivals() == []


def test_what_arrived_again_and_was_taken_in_is_not_lost(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        spool.note_arriving("a", "a@lid", 1.0)
    with opened(tmp_path / "spool") as spool:
        spool.note_arriving("a", "a@lid", 2.0)
        assert spool.add(message("a"))
        assert spool.lost_arrivals() == []


def test_what_arrived_is_remembered_when_the_file_is_written_anew(tmp_path: Path) -> None:
    with opened(tmp_path / "spool", compact_above_bytes=1) as spool:
        spool.note_arriving("a", "a@lid", 1.0)
        spool.add(message("b"))
        spool.acknowledge(["b"])
    with opened(tmp_path / "spool") as spool:
        assert spool.lost_arrivals() == [("a", "a@lid")]


def test_what_came_to_nothing_is_forgotten_after_a_while(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        spool.note_arriving("old", "a@lid", 0.0)
        spool.note_arriving("young", "a@lid", 60.0)
        spool.settle_arrivals(61.0)
    with opened(tmp_path / "spool") as spool:
        assert spool.lost_arrivals() == [("young", "a@lid")]


def test_what_became_of_a_send_is_known_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        assert spool.outcome("k") is None
        spool.begin_sending("k")
        spool.begin_sending("other")
        spool.end_sending("k", "sent", "3EB0")
    with opened(tmp_path / "spool") as spool:
        assert spool.outcome("k") == ("sent", "3EB0")
        assert spool.outcome("other") == ("begun", "")


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    with opened(tmp_path / "spool", compact_above_bytes=1) as spool:
        spool.add(message("a"))
        spool.acknowledge(["a"])
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_told_and_hides_nothing_that_comes_later(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path / "spool") as spool:
        spool.add(message("a"))
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "spool").stat().st_size + 30, limits[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                spool.add(message("b", "x" * 1000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert spool.add(message("b"))
    with opened(tmp_path / "spool") as spool:
        assert waiting(spool) == ["a", "b"]


def test_a_full_disk_hides_neither_an_acknowledgement_nor_an_outcome_from_this_process(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path / "spool") as spool:
        spool.add(message("a"))
        spool.note_arriving("z", "chat", 0.0)
        spool.begin_sending("key")
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "spool").stat().st_size, limits[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                spool.acknowledge(["a"])
            with pytest.raises(OSError, match="too large"):
                spool.settle_arrivals(1000.0)
            with pytest.raises(OSError, match="too large"):
                spool.begin_sending("next")
            spool.end_sending("key", "sent", "id")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        spool.settle_arrivals(1000.0)
        assert (len(spool), spool.outcome("key"), spool.outcome("next")) == (0, ("sent", "id"), None)


def test_what_was_added_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(200)]
        writer.send_signal(signal.SIGKILL)
        told += [line for line in writer.stdout if line.endswith("\n")]
    added = {line.split()[1] for line in told if line.startswith("added")}
    acknowledged = {line.split()[1] for line in told if line.startswith("acknowledged")}
    with opened(path) as spool:
        found = {name.removeprefix("m") for name in waiting(spool)}
    assert added <= found
    assert not acknowledged & found
    assert len(found - added) <= 1  # the one that was being told


operations = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("abcdef"), st.text(max_size=30)),
    st.tuples(st.just("acknowledge"), st.sampled_from("abcdef"), st.just("")),
    st.tuples(st.just("begin"), st.sampled_from("xyz"), st.just("")),
    st.tuples(st.just("end"), st.sampled_from("xyz"), st.sampled_from(["sent", "no", "maybe"])),
    st.tuples(st.just("reopen"), st.just(""), st.just("")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(operations, max_size=40))
def test_it_holds_what_a_simple_model_holds(steps: list[tuple[str, str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_steps(Path(folder) / "spool", steps)


def check_steps(path: Path, steps: list[tuple[str, str, Any]]) -> None:
    kept: dict[str, str] = {}
    seen: set[str] = set()
    outcomes: dict[str, str] = {}
    spool = Spool(path, compact_above_bytes=200)
    try:
        for what, name, value in steps:
            if what == "add":
                assert spool.add(message(name, value)) == (name not in seen)
                if name not in seen:
                    kept[name] = value
                seen.add(name)
            elif what == "acknowledge":
                spool.acknowledge([name])
                kept.pop(name, None)
            elif what == "begin":
                spool.begin_sending(name)
                outcomes[name] = "begun"
            elif what == "end":
                spool.end_sending(name, value, "")
                outcomes[name] = value
            else:
                spool.close()
                spool = Spool(path, compact_above_bytes=200)
            assert [(frame["id"], frame["text"]) for _, frame in spool.after(0, 100)] == list(kept.items())
            assert {name: found[0] for name in "xyz" if (found := spool.outcome(name))} == outcomes
    finally:
        spool.close()

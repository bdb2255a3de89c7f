"""A folder of files that people edit, as a store of flows. What every store does is tested by the contract."""

# ruff: noqa: ASYNC240  these tests may block: nothing else runs

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tecnobot_core.adapters.flow_files import FolderFlowStore, files
from tecnobot_core.errors import StoreError
from tecnobot_core.flows import Flow, FlowRepository

HELLO = Flow("hola").on("hola").say("¡Hola!")
BYE = Flow("adios").on("adiós").say("Adiós")
PRICE = Flow("precio").on("precio").say("5 €")

HELLO_YAML = "id: hola\nkeywords: [hola]\nsteps:\n  - ¡Hola!\n"
SEVERAL = """\
# The flows of Electrónica Sol.

flows:
  - id: hola
    keywords: [hola]
    steps: [Hola]
  - id: adios
    keywords: [adiós]
    steps: [Adiós]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the chatbot "shop"."""
    shop = tmp_path / "shop"
    shop.mkdir()
    return shop


@pytest.fixture
def store(folder: Path) -> FolderFlowStore:
    return FolderFlowStore(folder.parent)


async def loaded(store: FolderFlowStore) -> list[Flow]:
    flows, errors = await store.load("shop")
    assert errors == []
    return flows


async def errors_of(store: FolderFlowStore) -> list[str]:
    return [str(error) for error in (await store.load("shop"))[1]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Reading


async def test_yaml_and_json_files_are_read_and_others_are_not(store: FolderFlowStore, folder: Path) -> None:
    (folder / "a.yaml").write_text(HELLO_YAML)
    (folder / "b.YML").write_text("id: adios\nkeywords: [adiós]\nsteps: [Adiós]\n")
    (folder / "c.json").write_text('{"id": "precio", "keywords": ["precio"], "steps": ["5 €"]}')
    for name in (".d.yaml", "e.yaml~", "f.txt", "README.md", ".a.yaml.12345678.tmp"):
        (folder / name).write_text("{")
    (folder / "folder.yaml").mkdir()
    assert await loaded(store) == [BYE, HELLO, PRICE]


async def test_a_pipe_is_not_waited_for(store: FolderFlowStore, folder: Path) -> None:
    os.mkfifo(folder / "a.yaml")
    assert await loaded(store) == []


async def test_a_broken_file_and_a_broken_flow_are_one_error_each_and_the_rest_serves(
    store: FolderFlowStore, folder: Path
) -> None:
    (folder / "a.yaml").write_text("id: [")
    (folder / "b.yaml").write_text("flows:\n- {id: x, keywords: [x], steps: [{}, 5, {}]}\n")
    (folder / "c.yaml").write_text(HELLO_YAML)
    flows, errors = await store.load("shop")
    assert [flow.id for flow in flows] == ["hola"]
    assert [[problem.file for problem in error.problems] for error in errors] == [["a.yaml"], ["b.yaml", "b.yaml"]]


async def test_of_one_id_in_two_files_the_first_by_name_is_served_and_both_are_named(
    store: FolderFlowStore, folder: Path
) -> None:
    (folder / "b.yaml").write_text(HELLO_YAML)
    (folder / "a.yaml").write_text("\n" + HELLO_YAML.replace("¡Hola!", "first"))
    flows, (error,) = await store.load("shop")
    assert flows == [Flow("hola").on("hola").say("first")]
    assert str(error) == (
        "b.yaml:1:1: flow 'hola': it stands in a.yaml:2 already, which is served; remove one, or give it another id"
    )


async def test_a_broken_flow_does_not_stand_in_the_way_of_another_with_its_id(
    store: FolderFlowStore, folder: Path
) -> None:
    (folder / "a.yaml").write_text("id: hola\nkeywords: [hola]\nsteps: []\n")
    (folder / "b.yaml").write_text(HELLO_YAML)
    flows, errors = await store.load("shop")
    assert (flows, len(errors)) == ([HELLO], 1)


async def test_what_has_not_changed_is_not_read_again(
    store: FolderFlowStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(HELLO_YAML.replace("id: hola", f"id: {name}"))
    await loaded(store)
    read = list[str]()

    def read_bytes(path: Path) -> bytes:
        read.append(path.name)
        return path.read_bytes()

    monkeypatch.setattr("tecnobot_core.adapters.flow_files.chatbot_folder.read_bytes", read_bytes)
    (folder / "b.yaml").write_text(HELLO_YAML.replace("id: hola", "id: other"))
    assert [flow.id for flow in await loaded(store)] == ["a", "other"]
    assert read == ["b.yaml"]


async def test_a_file_that_may_not_be_read_is_one_error(
    store: FolderFlowStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_bytes(path: Path) -> bytes:
        if path.name == "a.yaml":  # as for everybody but root
            with files.translated(path, "read", but=PermissionError):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return path.read_bytes()

    monkeypatch.setattr("tecnobot_core.adapters.flow_files.chatbot_folder.read_bytes", read_bytes)
    (folder / "a.yaml").write_text(HELLO_YAML)
    (folder / "b.yaml").write_text("id: adios\nkeywords: [adiós]\nsteps: [Adiós]\n")
    flows, (error,) = await store.load("shop")
    assert flows == [BYE]
    assert str(error) == "a.yaml: cannot be read: Permission denied"


async def test_each_chatbot_has_a_folder_of_its_own_whatever_its_name(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    store = FolderFlowStore(root)
    odd = ["shop", "../evil", "..", ".", "a/b", "a b", "ñandú", ".hidden", "%2E%2E"]
    for number, chatbot in enumerate(odd):
        await store.put(chatbot, Flow(f"f{number}").on("x").say("x"))
    assert [[flow.id for flow in (await store.load(chatbot))[0]] for chatbot in odd] == [
        [f"f{number}"] for number in range(len(odd))
    ]
    assert names(tmp_path) == ["root"]
    assert len(names(root)) == len(odd)


# The version


def _touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def _swap(path: Path) -> None:
    """Another file with the name, the size and the time of the old one."""
    stat = path.stat()
    beside = path.with_name("x.tmp")
    shutil.copy(path, beside)
    os.utime(beside, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    beside.replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "another text": lambda path: path.write_text(HELLO_YAML + "  - Hola otra vez\n"),
    "another time": _touch,
    "another file": _swap,
    "another name": lambda path: path.rename(path.with_name("b.yaml")),
    "a new file": lambda path: path.with_name("b.yaml").write_text(""),
    "no file": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_every_change_of_the_files_is_another_version(
    store: FolderFlowStore, folder: Path, change: Callable[[Path], object]
) -> None:
    (folder / "a.yaml").write_text(HELLO_YAML)
    before = await store.version("shop")
    assert await store.version("shop") == before
    change(folder / "a.yaml")
    assert await store.version("shop") > before


async def test_files_that_are_no_flows_do_not_change_the_version(store: FolderFlowStore, folder: Path) -> None:
    (folder / "a.yaml").write_text(HELLO_YAML)
    before = await store.version("shop")
    (folder / "notes.txt").write_text("x")
    assert await store.version("shop") == before


async def test_what_the_store_writes_is_another_version_even_if_the_file_system_does_not_tell(
    store: FolderFlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan(path: Path) -> dict[str, files.Stamp]:
        return dict.fromkeys(names(path), (0,))

    monkeypatch.setattr("tecnobot_core.adapters.flow_files.chatbot_folder.scan", scan)
    await store.put("shop", HELLO)
    before = await store.version("shop")
    await store.put("shop", HELLO)
    assert await store.version("shop") > before


async def test_an_edited_file_is_served_after_a_refresh(store: FolderFlowStore, folder: Path) -> None:
    (folder / "a.yaml").write_text(HELLO_YAML)
    repository = FlowRepository(store, "shop")
    await repository.load()
    (folder / "a.yaml").write_text(HELLO_YAML.replace("[hola]", "[buenas]"))
    assert await repository.refresh()
    assert repository.match("buenas") is not None


# Writing


async def test_a_flow_that_is_added_gets_a_file_of_its_own(store: FolderFlowStore, folder: Path) -> None:
    await store.add("shop", HELLO)
    assert (folder / "hola.yaml").read_text("utf-8") == HELLO_YAML
    await store.add("shop", Flow("Hola/../../etc: ¿Qué?").on("x").say("x"))
    await store.add("shop", Flow("Hola etc Qué").on("x").say("x"))
    await store.add("shop", Flow("💛").on("x").say("x"))
    assert names(folder) == ["Hola-etc-Qué-2.yaml", "Hola-etc-Qué.yaml", "flow.yaml", "hola.yaml"]
    assert len(await loaded(store)) == 4


async def test_a_flow_is_replaced_in_the_file_that_holds_it_and_in_its_form(
    store: FolderFlowStore, folder: Path
) -> None:
    (folder / "mine.json").write_text('{"$schema": "flow.schema.json", "id": "hola", "event": "voice", "steps": ["x"]}')
    (folder / "mine.json").chmod(0o640)
    await store.put("shop", HELLO)
    assert names(folder) == ["mine.json"]
    assert '"$schema": "flow.schema.json"' in (folder / "mine.json").read_text()
    assert (folder / "mine.json").stat().st_mode & 0o777 == 0o640
    assert await loaded(store) == [HELLO]


async def test_the_other_flows_of_a_file_and_its_first_comment_stay(store: FolderFlowStore, folder: Path) -> None:
    (folder / "all.yaml").write_text(SEVERAL)
    await store.put("shop", HELLO)
    assert (folder / "all.yaml").read_text("utf-8") == SEVERAL.replace(
        "    steps: [Hola]\n", "    steps:\n      - ¡Hola!\n"
    ).replace("    steps: [Adiós]\n", "    steps:\n      - Adiós\n")
    assert await store.remove("shop", "hola")
    assert await loaded(store) == [BYE]
    assert await store.remove("shop", "adios")
    assert names(folder) == []


async def test_a_file_with_one_flow_goes_with_it(store: FolderFlowStore, folder: Path) -> None:
    (folder / "a.yaml").write_text("# Why we say hello.\n" + HELLO_YAML + "  # No more than that.\n")
    assert await store.remove("shop", "hola")
    assert names(folder) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HELLO_YAML + "  # Bea wants it shorter.\n", "a.yaml holds comments, which would be lost"),
        (SEVERAL.replace("[Adiós]", "[Adiós] # sure?"), "a.yaml holds comments, which would be lost"),
        (SEVERAL.replace("[Adiós]", "[]"), "a broken flow beside it would be lost; mend it first: a.yaml:9:12: flow"),
        (SEVERAL + "note: x\n", "what stands beside its flows would be lost: a.yaml:10:1: the field 'note'"),
    ],
)
async def test_what_would_be_lost_is_not_written(store: FolderFlowStore, folder: Path, text: str, reason: str) -> None:
    (folder / "a.yaml").write_text(text)
    with pytest.raises(StoreError, match=reason) as caught:
        await store.put("shop", HELLO)
    assert not caught.value.retryable
    assert (folder / "a.yaml").read_text() == text
    assert names(folder) == ["a.yaml"]


async def test_of_two_flows_with_one_id_none_is_replaced(store: FolderFlowStore, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(HELLO_YAML)
    for change in (store.put("shop", HELLO), store.remove("shop", "hola")):
        with pytest.raises(StoreError, match=r"flow 'hola' stands in a.yaml:1, b.yaml:1; remove all but one"):
            await change
    assert names(folder) == ["a.yaml", "b.yaml"]


async def test_a_broken_flow_is_replaced_by_a_sound_one(store: FolderFlowStore, folder: Path) -> None:
    (folder / "a.yaml").write_text("id: hola\nsteps: []\n")
    await store.put("shop", HELLO)
    assert names(folder) == ["a.yaml"]
    assert await loaded(store) == [HELLO]


# Trouble


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    store = FolderFlowStore(tmp_path / "none")
    for change in (store.load("shop"), store.version("shop"), store.put("shop", HELLO)):
        with pytest.raises(StoreError, match="there is no folder") as caught:
            await change
        assert caught.value.retryable


async def test_a_folder_that_vanishes_is_told_and_the_last_flows_stay(store: FolderFlowStore, folder: Path) -> None:
    (folder / "a.yaml").write_text(HELLO_YAML)
    repository = FlowRepository(store, "shop")
    await repository.load()
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(StoreError, match="is gone; bring it back"):
        await store.version("shop")
    assert not await repository.refresh()
    assert repository.match("hola") is not None
    folder.with_name("elsewhere").rename(folder)
    assert await store.load("shop") == ([HELLO], [])


async def test_a_file_that_vanishes_while_it_is_read_is_a_store_error(
    store: FolderFlowStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.yaml").write_text(HELLO_YAML)
    real_scan = files.scan

    def scan(path: Path) -> Any:
        stamps = real_scan(path)
        (folder / "a.yaml").unlink(missing_ok=True)
        return stamps

    monkeypatch.setattr("tecnobot_core.adapters.flow_files.chatbot_folder.scan", scan)
    with pytest.raises(StoreError, match=r"a.yaml cannot be read: No such file") as caught:
        await store.load("shop")
    assert caught.value.retryable
    assert await loaded(store) == []


@pytest.mark.parametrize(
    ("code", "retryable"), [(errno.ENOSPC, True), (errno.EIO, True), (errno.EROFS, False), (errno.EACCES, False)]
)
async def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(
    store: FolderFlowStore, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, retryable: bool
) -> None:
    (folder / "a.yaml").write_text(HELLO_YAML)

    def fsync(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match=rf"a.yaml cannot be written: {os.strerror(code)}") as caught:
        await store.put("shop", Flow("hola").on("x").say("x"))
    assert caught.value.retryable == retryable
    assert caught.value.outcome in ("rolled_back", "permanent")
    assert names(folder) == ["a.yaml"]
    assert (folder / "a.yaml").read_text() == HELLO_YAML


async def test_a_full_disk_is_told() -> None:
    with pytest.raises(StoreError, match="No space left"), files.translated(Path("a.yaml"), "written"):
        Path("/dev/full").write_text("x")

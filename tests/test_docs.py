"""The documentation: its code runs, its links lead somewhere, its reference is complete."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from pytest_examples import CodeExample, EvalExample, find_examples

import tecnobot_core
from tecnobot_core import events

# The folder that holds this one, not the package's: the built wheel is tested against a copy of these files.
ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.exists()] + sorted(DOCS.rglob("*.md"))
SHORT_EXAMPLES = sorted(set((ROOT / "examples").glob("*.py")) - {ROOT / "examples" / "tecnobot_app.py"})
EXAMPLE_DEADLINE_S = 60

_FENCED = re.compile(r"^( *)```.*?^\1```", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.M)
_LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon))[^>]*\bhref=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|@import[^;]*//[^;]*|url\([\"']?(?:https?:)?//[^)]*\)"
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def marks_of(source: str) -> list[pytest.MarkDecorator]:
    """What code needs that only some machines have."""
    return [pytest.mark.postgres] if "EmbeddedPostgres" in source else []


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=f"{name(example.path)}:{example.start_line}", marks=marks_of(example.source))
        for example in find_examples(*PAGES)
    ],
)
def test_every_code_block_runs_and_prints_what_it_says(
    example: CodeExample, eval_example: EvalExample, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ruff format keeps a blank before the sign that pytest-examples wants at the beginning of a comment.
    example.source = example.source.replace("# > ", "#> ")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))  # what a person types into a block that asks
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # a block runs as the main module
    # The traceback that it makes up for the page has frames that Python 3.11 cannot print: the session would end.
    monkeypatch.setattr("pytest_examples.run_code.create_example_traceback", lambda *_: None)
    if eval_example.update_examples:
        eval_example.run_print_update(example)
    else:
        eval_example.run_print_check(example)


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=name(path), marks=marks_of(path.read_text())) for path in SHORT_EXAMPLES]
)
def test_every_short_example_runs(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", path],
        cwd=ROOT,
        env=os.environ | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=EXAMPLE_DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr


def anchor(heading: str) -> str:
    """As Python-Markdown makes them: markup and signs dropped, spaces joined."""
    text = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
    return re.sub(r"[-\s]+", "-", text)


def anchors(path: Path) -> set[str]:
    return {anchor(heading) for heading in _HEADING.findall(_FENCED.sub("", path.read_text("utf-8")))}


def broken_links(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_FENCED.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, fragment = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def named_in(nav: object) -> Iterator[str]:
    """The pages of a navigation, in order."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for below in nav.values():
            yield from named_in(below)
    elif isinstance(nav, list):
        for below in nav:
            yield from named_in(below)


def test_every_page_is_in_the_navigation_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    assert sorted(named_in(nav)) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def reference() -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted((DOCS / "reference").glob("*.md")))


def test_every_public_name_is_in_the_reference_once() -> None:
    documented = re.findall(r"^::: tecnobot_core\.(\w+)$", reference(), re.M)
    assert sorted(documented) == sorted(set(tecnobot_core.__all__) - {"__version__"})
    assert "`__version__`" in reference()


def event_rows() -> Iterator[str]:
    for kind in vars(events).values():
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event:
            names = ", ".join(f"`{field.name}`" for field in fields(kind))
            yield f"| `{kind.__name__}` | `{events.snake_name(kind)}` | {names} |"


def test_every_event_and_its_fields_are_in_the_reference() -> None:
    page = (DOCS / "reference" / "events.md").read_text("utf-8")
    assert [row for row in event_rows() if row not in page] == []


def test_the_built_site_loads_nothing_from_elsewhere() -> None:
    site = ROOT / "site"
    if not site.exists():
        pytest.skip("the site is not built here: scripts/docs builds it")
    files = [path for kind in ("*.html", "*.css") for path in site.rglob(kind)]
    assert files
    assert [f"{name(path)}: {found}" for path in files for found in _LOADED.findall(path.read_text("utf-8"))] == []

"""Undocumented means red, and the documents run."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest

import arauto
from arauto.core.events import EventType, VitalName
from arauto.core.settings import Settings
from arauto.store.embedded import EmbeddedPostgres
from tests.warm import warm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def headings(page):
    return re.findall(r"^#{1,6} +(.*?) *$", (DOCS / page).read_text("utf-8"), re.MULTILINE)


def test_every_setting_has_a_heading():
    wanted = [f"`{field.name}`" for field in msgspec.structs.fields(Settings)]
    assert [heading for heading in headings("settings.md") if heading.startswith("`")] == wanted


def test_every_event_type_has_a_heading():
    wanted = [f"`{name}`" for name in get_args(EventType)]
    assert [heading for heading in headings("events.md") if heading.startswith("`")] == wanted
    assert all(f"`{name}`" in (DOCS / "events.md").read_text("utf-8") for name in get_args(VitalName))


def test_every_command_has_a_heading():
    from arauto.cli import main

    def commands(group, path):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from commands(command, f"{path} {name}")
            else:
                yield f"`{path} {name}`"

    documented = [heading for heading in headings("cli.md") if heading.startswith("`")]
    assert sorted(documented) == sorted(commands(main, "arauto"))


def test_every_route_has_a_heading():
    from arauto.server.routes import ROUTES

    documented = [heading for heading in headings("http.md") if heading.startswith("`")]
    assert sorted(documented) == sorted(f"`{route.method} {route.path}`" for route in ROUTES)


def test_the_drawn_tree_is_the_real_one():
    text = (DOCS / "architecture.md").read_text("utf-8")
    tree = re.search(r"```text\narauto/\n(.*?)```", text, re.DOTALL)
    assert tree, "docs/architecture.md draws the tree in a text block that starts with arauto/"
    drawn: set[str] = set()
    path: list[str] = []
    for line in tree[1].splitlines():
        name, _, words = line.strip().partition("  ")
        assert 0 < len(words.split()) <= 12, f"{name}: a few words"
        depth = (len(line) - len(line.lstrip())) // 4
        path[depth - 1 :] = [name.rstrip("/")]
        drawn.add("/".join(path) + ("/" if name.endswith("/") else ""))
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "arauto"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    files = [Path(name).relative_to("arauto") for name in listed if (ROOT / name).exists()]
    modules = {str(file) for file in files if file.suffix == ".py" and file.name != "__init__.py"}
    folders = {f"{folder}/" for file in files for folder in file.parents if str(folder) != "."}
    assert drawn == modules | folders


def test_the_version_is_the_changelogs_first():
    first = re.search(r"^## \[?([0-9.]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first
    assert first[1] == arauto.__version__
    assert f'version = "{first[1]}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_face_of_the_library_is_pinned():
    assert arauto.__all__ == [
        "Arauto",
        "ArautoError",
        "Brief",
        "Campaign",
        "CampaignPlan",
        "Copy",
        "Decision",
        "Settings",
        "__version__",
        "load_settings",
        "open",
    ]


def test_the_two_readmes_have_the_same_parts():
    counts = []
    for name in ("README.md", "README.pt-BR.md"):
        text = (ROOT / name).read_text("utf-8")
        counts.append((len(re.findall(r"^#", text, re.MULTILINE)), len(FENCE.findall(text))))
    assert counts[0] == counts[1]


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} → {target}"


@cache
def blocks():
    return [
        (page, place, fence["info"].strip(), fence["code"])
        for page in PAGES
        for place, fence in enumerate(FENCE.finditer(page.read_text("utf-8")), 1)
    ]


def test_every_block_says_what_it_is():
    """A block is run (python, sh; `python flower` by `tests/federated/test_flower.py`), or is data or a picture; there
    is no way to opt a command out."""
    allowed = {"python", "python flower", "sh", "make", "text", "json", "yaml", "toml", "html", "js", "sql"}
    assert {info for _, _, info, _ in blocks()} <= allowed


def test_blocks_of_make_name_real_targets():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for page, _, info, code in blocks():
        if info == "make":
            for line in code.splitlines():
                command = line.partition("#")[0].split()
                assert command[0] == "make", page
                assert re.search(rf"^{re.escape(command[1])}:", makefile, re.MULTILINE), f"{page.name}: {line}"


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def runnable(page):
    return tuple((info, code) for owner, _, info, code in blocks() if owner == page and info in ("python", "sh"))


RUN = sorted({runnable(page): page for page in PAGES if runnable(page)}.values())
"""A translation with the same blocks, letter by letter, is run once."""


@pytest.fixture(scope="session")
def ready():
    """A folder for the front of PATH whose ``arauto`` and ``code`` need not import anything."""
    # The processes of xdist are children of the one that ends last. Short, for the address of a socket.
    keeper = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    folder = Path(tempfile.gettempdir(), f"arauto-warm-{keeper}")
    return warm(folder, plain(folder), keeper)


def plain(home):
    """What a reader has in the environment."""
    threads = {name: value for name, value in os.environ.items() if name.endswith("_THREADS")}
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),  # the checkout under test, whichever is installed
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(home),
        **threads,
    }


@pytest.mark.long
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_pages_blocks_run_in_order(page, tmp_path, free_port, request):
    """All the blocks of a page run in one folder, in order, as a reader would type them.

    Those of the README in an empty folder, each command a new process. Those of the other pages by a process that has
    imported everything, on a database that was made before and stays up once it was used.
    """
    environ = {**plain(tmp_path), "ARAUTO_PORT": str(free_port)}
    tmp_path.chmod(0o755)
    python, database = [sys.executable, "-c"], EmbeddedPostgres(tmp_path / ".arauto" / "postgres")
    if warmed := page.name != "README.md":
        ready, new_database = request.getfixturevalue("ready"), request.getfixturevalue("new_database")
        environ["PATH"] = f"{ready}:{environ['PATH']}"
        python = [ready / "code"]
        new_database(database.folder)
    try:
        for place, (info, code) in enumerate(runnable(page), 1):
            command = [*python, code] if info == "python" else ["bash", "-euo", "pipefail", "-c", code]
            status, told = run(command, tmp_path, environ)
            assert status == 0, f"block {place} of {page.name}:\n{code}\n{told}"
            if warmed and database.folder.with_name("postgres.users").exists():
                database.ensure_running()
    finally:
        run([Path(sys.executable).parent / "arauto", "down"], tmp_path, environ)
        database.release()


def run(command, folder, environ):
    """Its exit status and what it told. Told into a file: a pipe would be held open by a server that it started."""
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=told, stderr=told, start_new_session=True
        )
        try:
            status = process.wait(300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        told.seek(0)
        return status, told.read()

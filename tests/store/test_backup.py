"""A backup brings everything back, or says why not and leaves nothing."""

import hashlib
import stat

import msgspec
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from arauto.core.clock import FakeClock
from arauto.core.errors import ConflictError, InputError, StoreError
from arauto.core.settings import Secret, Settings
from arauto.loop.app import Arauto
from arauto.store import backup, restore


@pytest.fixture
def empty(postgres, settings, tmp_path):
    """Settings whose database has nothing in it, not even our tables."""
    name = f"{conninfo_to_dict(settings.database_url.reveal())['dbname']}_empty"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield Settings(home=tmp_path / "other", database_url=Secret(make_conninfo(postgres, dbname=name)))
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


CLOCK = FakeClock()
BACKUP_SEAL = 88  # bytes


def lived(settings):
    """A campaign that was shown and clicked, and its report."""
    with Arauto(settings, clock=CLOCK) as app:
        app.create({"product": "smartwatch"}, slug="watch")
        app.launch("watch")
        for turn in range(20):
            decision = app.decide("watch")
            app.track(decision, "impression")
            if turn % 3 == 0:
                app.track(decision, "click")
        return told(app)


def told(app):
    return msgspec.json.encode(app.report("watch"))


def test_a_restored_report_is_the_same_to_the_byte(settings, empty, tmp_path):
    before = lived(settings)
    file = tmp_path / "one.dump"
    assert backup(settings, file) == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    restore(empty, file)
    with Arauto(empty, clock=CLOCK) as app:
        assert told(app) == before
        decision = app.decide("watch")
        assert app.track(decision, "impression").stored == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".dump"] == ["one.dump"], "no half files"


def test_it_never_writes_over_anything(settings, tmp_path):
    lived(settings)
    file = tmp_path / "kept.dump"
    file.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        backup(settings, file)
    assert file.read_text() == "mine"
    assert backup(settings, tmp_path / "full.dump") > 0
    with pytest.raises(ConflictError, match="tables already"):
        restore(settings, tmp_path / "full.dump")
    with pytest.raises(InputError, match="choose another folder"):
        backup(settings, tmp_path / "nowhere" / "x.dump")


def test_a_bad_file_leaves_nothing(settings, empty, tmp_path):
    lived(settings)
    whole = tmp_path / "whole.dump"
    backup(settings, whole)
    content = whole.read_bytes()
    bad = tmp_path / "bad.dump"
    for wrong in (
        content[: len(content) * 2 // 3],
        content[:-1],
        content[:-70],
        content[:5000] + b"x" + content[5001:],
    ):
        bad.write_bytes(wrong)
        with pytest.raises(InputError, match="cut short or altered"):
            restore(empty, bad)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="no backup"):
        restore(empty, tmp_path / "text")
    with pytest.raises(InputError, match="cannot be read"):
        restore(empty, tmp_path / "nothing")
    archive = content[:-BACKUP_SEAL]
    forged = archive[: len(archive) // 2]
    bad.write_bytes(forged + b"\narauto-backup-1 sha256:" + hashlib.sha256(forged).hexdigest().encode())
    with pytest.raises(InputError, match="nothing was"):
        restore(empty, bad)
    restore(empty, whole)


def test_a_password_is_not_told(tmp_path):
    url = Secret("postgresql://ana:hunter2@127.0.0.1:1/none")
    with pytest.raises(StoreError) as caught:
        backup(Settings(home=tmp_path, database_url=url), tmp_path / "x.dump")
    assert "hunter2" not in str(caught.value)
    assert not list(tmp_path.glob("*dump*"))

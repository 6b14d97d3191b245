"""The benchmark of replay says what is missing; with the log it runs on a server of its own (``make bench``)."""

import msgspec

from arauto.core.settings import Settings
from bench import replay


def test_without_the_log_it_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(replay, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(replay, "load_settings", lambda: Settings(home=tmp_path))
    assert replay.main() == 1
    told = capsys.readouterr().out
    assert "arauto datasets pull open-bandit" in told
    written = msgspec.json.decode((tmp_path / "results" / "replay.json").read_bytes(), type=replay.Outcome)
    assert written.missing in told
    assert written.runs == []

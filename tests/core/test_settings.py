from pathlib import Path

import pytest

from arauto.core.errors import SettingError
from arauto.core.settings import Secret, Settings, load_settings


def test_defaults_then_file_then_environment_then_arguments(tmp_path):
    (tmp_path / "arauto.toml").write_text('port = 9000\nhost = "0.0.0.0"\nlanguage = "en"\n')
    assert load_settings(tmp_path / "nowhere", {}) == Settings()
    settings = load_settings(tmp_path, {"ARAUTO_PORT": "9001", "PATH": "/bin"}, host="::1")
    assert (settings.port, settings.host, settings.language) == (9001, "::1", "en")


def test_types_are_read_from_the_environment():
    settings = load_settings(
        Path("/nowhere"),
        {
            "ARAUTO_HOME": "~/a",
            "ARAUTO_TRUSTED_PROXIES": "10.0.0.1, 10.0.0.2",
            "ARAUTO_OPENAI_KEY": "sk-x",
            "ARAUTO_DATA_DIR": "",
        },
    )
    assert settings.home == Path("~/a").expanduser()
    assert settings.trusted_proxies == ("10.0.0.1", "10.0.0.2")
    assert settings.openai_key.reveal() == "sk-x"
    assert settings.data_dir is None


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        ({"ARAUTO_PORT": "many"}, "port"),
        ({"ARAUTO_PORT": "70000"}, "port"),
        ({"ARAUTO_PROT": "1"}, "prot"),
        ({"ARAUTO_LANGUAGE": "fr"}, "language"),
    ],
)
def test_a_bad_setting_is_named(environ, field):
    with pytest.raises(SettingError) as caught:
        load_settings(Path("/nowhere"), environ)
    assert caught.value.field == field
    assert caught.value.mend
    assert caught.value.exit_code == 2


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "arauto.toml").write_text("port = = 1")
    with pytest.raises(SettingError, match=r"arauto\.toml: is not TOML"):
        load_settings(tmp_path, {})


def test_a_secret_shows_only_stars():
    settings = load_settings(
        Path("/nowhere"), {"ARAUTO_ADMIN_TOKEN": "hunter2", "ARAUTO_DATABASE_URL": "postgresql://u:pw@h/d"}
    )
    for text in (repr(settings), str(settings), f"{settings.admin_token}", f"{settings.database_url!r}"):
        assert "hunter2" not in text
        assert "pw" not in text
    assert bool(settings.admin_token) is True
    assert bool(Secret("")) is False
    assert Secret("a") == Secret("a")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1

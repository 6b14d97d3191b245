import pytest
from click.testing import CliRunner

from arauto.cli import main
from arauto.store.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def home(tmp_path_factory, new_database):
    """A folder for a module's commands. Its database is up for as long: else each command would start and stop it."""
    folder = tmp_path_factory.mktemp("cli")
    folder.chmod(0o755)
    database = EmbeddedPostgres(folder / ".arauto" / "postgres")
    new_database(database.folder)
    database.ensure_running()
    yield folder
    database.release()


@pytest.fixture
def run(home, monkeypatch):
    """``run(*words, code=0)``: the command as a person types it, and how it ended."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "140")
    runner = CliRunner()

    def call(*words, code=0, **more):
        done = runner.invoke(main, [*words], **more)
        assert done.exit_code == code, done.output
        return done

    return call

"""Which engine is chosen, and the local one with a model that is only played."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from arauto.core.brief import Brief
from arauto.core.errors import EngineError, ModelFileError, SettingError
from arauto.core.settings import Secret, Settings
from arauto.creative import (
    Ask,
    LocalEngine,
    ModelStore,
    OpenAIEngine,
    ScriptedEngine,
    SlotEngine,
    UnreadableAnswer,
    Writer,
    choose_engine,
    compose_message,
)
from arauto.creative.engines import llama

BRIEF = Brief(product="smartwatch", focus="saúde")
ASK = Ask(brief=BRIEF, message=compose_message(BRIEF))
ANSWER = json.dumps(
    {
        "title": "O seu dia no pulso",
        "description": "Com o smartwatch, você anda leve.",
        "image_suggestion": "Pessoa no parque ao sol",
    }
)


PLAYED = """
import json, os, sys, time

class _Any:
    pass

class CommonParams:
    def __init__(self):
        self.model, self.cpuparams, self.cpuparams_batch = _Any(), _Any(), _Any()

class Server:
    def __init__(self, params):
        print("a library that talks")
        self.params = params
        if "broken" in open(params.model.path, "rb").read().decode("latin-1"):
            raise RuntimeError("failed to load")

    def handle_chat_completions(self, request):
        note = {"seed": request["seed"], "key": params_key(self.params), "threads": self.params.cpuparams.n_threads}
        with open(os.environ["PLAYED_LOG"], "a") as log:
            log.write(json.dumps({**note, "pid": os.getpid(), "request": request}) + "\\n")
        said = os.environ["PLAYED_SAYS"]
        if said == "hang":
            time.sleep(60)
        if said == "crash":
            os.kill(os.getpid(), 11)
        if said.startswith("raw"):
            return json.loads(said[3:])
        return {"choices": [{"message": {"content": said}}]}

def params_key(params):
    return params.api_keys[0]
"""


class Stage:
    """A module that plays xllamacpp in the engine's process, and what it was asked."""

    def __init__(self, tmp_path, monkeypatch):
        (tmp_path / "stage").mkdir()
        (tmp_path / "stage" / "xllamacpp.py").write_text(PLAYED)
        self.log = tmp_path / "stage" / "log"
        self.log.touch()
        self.monkeypatch = monkeypatch
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stage"))
        monkeypatch.setenv("PLAYED_LOG", str(self.log))
        self.says(ANSWER)

    def says(self, text):
        self.monkeypatch.setenv("PLAYED_SAYS", text)

    @property
    def asked(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    async def wait(self):
        for _ in range(3000):
            if self.asked:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return Stage(tmp_path, monkeypatch)


@pytest.fixture
def gguf(tmp_path):
    path = tmp_path / "own.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    return path


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_drafts_come_from_one_process_that_ends_with_the_engine(stage, gguf):
    engine = LocalEngine(gguf, threads=2)
    asks = [Ask(brief=BRIEF, message=ASK.message, turn=turn) for turn in range(2)]
    drafts = await asyncio.gather(*(engine.write(ask) for ask in asks))
    assert {draft.copy.title for draft in drafts} == {"O seu dia no pulso"}
    first, second = stage.asked
    assert first["pid"] == second["pid"] != os.getpid()
    assert (first["seed"], second["seed"]) == tuple(ask.sampling_seed for ask in asks)
    assert first["threads"] == 2
    # The library's own port is locked.
    assert len(first["key"]) > 30
    assert first["request"]["messages"] == second["request"]["messages"]
    schema = first["request"]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["description"]["pattern"].startswith("^Com o smartwatch, você ")
    assert engine.model == "own"
    assert str(gguf) in repr(engine)
    await engine.close()
    assert not alive(first["pid"])
    await engine.close()


async def test_a_cancelled_draft_ends_at_once_and_the_next_one_is_written(stage, gguf):
    stage.says("hang")
    engine = LocalEngine(gguf)
    task = asyncio.create_task(engine.write(ASK))
    await stage.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (hung,) = stage.asked
    assert not alive(hung["pid"])
    stage.says(ANSWER)
    assert (await engine.write(ASK)).copy.title == "O seu dia no pulso"
    await engine.close()


async def test_a_model_that_hangs_is_given_up(stage, gguf):
    stage.says("hang")
    engine = LocalEngine(gguf, answer_seconds=2)
    with pytest.raises(EngineError, match="did not answer within 2 s"):
        await engine.write(ASK)
    await engine.close()


async def test_a_crash_of_the_library_is_an_error_and_not_ours(stage, gguf):
    stage.says("crash")
    engine = LocalEngine(gguf)
    with pytest.raises(EngineError, match="process ended"):
        await engine.write(ASK)
    stage.says(ANSWER)
    assert (await engine.write(ASK)).copy.title == "O seu dia no pulso"
    await engine.close()


async def test_no_parent_no_child(stage, gguf):
    engine = LocalEngine(gguf)
    await engine.write(ASK)
    process = engine._process
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 60) == 0
    await engine.close()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ('raw{"choices": [{"message": {"content": null}}]}', UnreadableAnswer),
        ("no json", UnreadableAnswer),
        ('raw{"code": 400, "message": "context too long"}', EngineError),
        ("raw[]", EngineError),
    ],
)
async def test_answers_that_are_no_copy(stage, gguf, says, error):
    stage.says(says)
    engine = LocalEngine(gguf)
    with pytest.raises(error):
        await engine.write(ASK)
    await engine.close()


def test_the_models_process_answers_until_its_input_ends(stage, gguf):
    settings = {"path": str(gguf), "threads": 1, "context": 64, "batch": 8}
    lines = "".join(json.dumps(line) + "\n" for line in (settings, {"seed": 1}, {"seed": 2}))
    done = subprocess.run(
        [sys.executable, "-P", llama.__file__], input=lines, capture_output=True, text=True, timeout=120
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"ready": True},
        {"text": ANSWER},
        {"text": ANSWER},
    ]
    assert (done.returncode, done.stderr) == (0, "")


async def test_files_that_are_no_model(stage, tmp_path):
    (tmp_path / "text.gguf").write_text("hello")
    (tmp_path / "broken.gguf").write_text("GGUF broken")
    for name, problem in (
        ("none", "cannot be read"),
        ("text", "not a GGUF"),
        ("broken", "cannot be loaded: failed to load"),
    ):
        engine = LocalEngine(tmp_path / f"{name}.gguf")
        with pytest.raises(ModelFileError, match=problem):
            await engine.write(ASK)
        await engine.close()


async def test_the_writer_with_the_played_model(stage, gguf):
    engine = LocalEngine(gguf)
    result = await Writer(engine, attempts_each=1).write(BRIEF, 2)
    assert (len(result.accepted), len(result.refused)) == (1, 1)
    assert result.accepted[0][1].engine == "local"
    await engine.close()


async def test_the_scripts_end_is_an_error():
    engine = ScriptedEngine([])
    with pytest.raises(EngineError):
        await engine.write(ASK)
    await engine.close()
    assert engine.closed


def choose(tmp_path, **settings):
    chosen = Settings(home=tmp_path, **settings)
    return choose_engine(chosen, ModelStore(chosen))


async def test_auto_takes_the_best_that_is_there(tmp_path, gguf, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    remote = choose(
        tmp_path, openai_url="https://host/v1", openai_key=Secret("k"), openai_model="m", local_model=str(gguf)
    )
    local = choose(tmp_path, local_model=str(gguf), model_threads=2)
    assert isinstance(remote, OpenAIEngine)
    assert isinstance(local, LocalEngine)
    assert isinstance(choose(tmp_path), SlotEngine)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(choose(tmp_path, local_model=str(gguf)), SlotEngine)
    await remote.close()
    await local.close()


def test_an_engine_that_was_named_must_be_there(tmp_path, gguf, monkeypatch):
    assert isinstance(choose(tmp_path, text_engine="slot", openai_url="https://host/v1"), SlotEngine)
    with pytest.raises(SettingError, match="not an engine"):
        choose(tmp_path, text_engine="gpt")
    with pytest.raises(SettingError) as caught:
        choose(tmp_path, text_engine="openai")
    assert caught.value.field == "openai_url"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(ModelFileError, match="is missing"):
        choose(tmp_path, text_engine="local")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError, match="not installed"):
        choose(tmp_path, text_engine="local", local_model=str(gguf))

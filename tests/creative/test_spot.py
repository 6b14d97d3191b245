"""A spot: made, measured by its checks, made again; and what the checks find in broken ones."""

import hashlib

import msgspec
import pytest

from arauto.core.errors import EngineError, ModelFileError, SettingError
from arauto.core.settings import Settings
from arauto.creative import ModelStore
from arauto.creative.audio import check_audio, media_rules, render_audio
from arauto.creative.audio.render import FORMATS, encode, wav
from arauto.creative.engines import (
    Composer,
    EspeakVoice,
    KokoroVoice,
    MusicAsk,
    Recording,
    ScriptedMusic,
    ScriptedVoice,
    choose_voice,
    local_voice,
)
from arauto.creative.engines import voice as voices
from arauto.creative.sound.ffmpeg import decode
from arauto.creative.sound.loudness import loudness
from arauto.creative.sound.samples import seconds, silence
from tests.creative.briefs import ENGLISH, SHOES
from tests.creative.media import quick, quiet, work_of


@pytest.fixture(scope="module")
async def spot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    voice = ScriptedVoice(quick)
    assets = await spot_of(folder, voice)
    return folder, assets, voice


async def spot_of(folder, voice, brief=SHOES, **options):
    """A spot of 9 seconds over a plain tone."""
    return await render_audio(
        work_of(brief), folder, quiet, voice=voice, music=ScriptedMusic(), **{"lengths": (9.0,), **options}
    )


def rules_of(findings):
    return {finding.rule for finding in findings}


def broken(asset, **changes):
    return msgspec.structs.replace(asset, **changes)


async def test_a_spot_passes_its_own_checks(spot):
    folder, assets, voice = spot
    assert [asset.variant for asset in assets] == list(FORMATS)
    for asset in assets:
        assert check_audio(asset, folder) == []
        data = (folder / asset.path).read_bytes()
        assert (asset.bytes, asset.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert "Por 399 e 90" in " ".join(voice.lines) or "por 399 e 90" in " ".join(voice.lines)
    assert assets[0].facts["price"] == "R$ 399,90"
    assert assets[0].made.source_type == "algorithmicMedia"
    assert (folder / "audio" / "spot.txt").read_text("utf-8").splitlines() == assets[0].words.splitlines()


async def test_the_same_seed_gives_the_same_bytes(spot, tmp_path):
    _, assets, _ = spot
    again = await spot_of(tmp_path, ScriptedVoice(quick))
    assert [asset.sha256 for asset in again] == [asset.sha256 for asset in assets]


async def test_without_a_voice_it_says_so(tmp_path):
    assets = await spot_of(tmp_path, None, ENGLISH, loudness="spotify")
    findings = check_audio(assets[0], tmp_path)
    assert rules_of(findings) == {"SOUND-MUTE"}
    assert findings[0].severity == "warn"
    assert loudness(decode(tmp_path / assets[0].path)) == pytest.approx(-14, abs=0.5)


async def test_too_many_words_and_too_long_a_spot_are_told(tmp_path):
    long = " ".join(["Consulte as condições completas do regulamento nas lojas participantes"] * 3)
    brief = msgspec.structs.replace(SHOES, disclaimers=(long[:190], long[:195], long[:199]))
    (asset, *_) = await spot_of(tmp_path, ScriptedVoice(lambda line: len(line) / 90), brief)
    assert "AUDIO-WORDS" in rules_of(check_audio(asset, tmp_path))
    (tmp_path / asset.path).write_bytes(wav(silence(30.5)))
    assert "AUDIO-LENGTH" in rules_of(check_audio(asset, tmp_path))


async def test_a_profile_that_is_not(tmp_path):
    with pytest.raises(SettingError, match="not a profile"):
        await spot_of(tmp_path, None, loudness="loud")


@pytest.mark.parametrize(
    "rule",
    [
        "SOUND-LOUDNESS",
        "SOUND-PEAK",
        "SOUND-CALL",
        "SOUND-CAPTIONS",
        "SOUND-ROBOT",
        "AUDIO-FORM",
        "AUDIO-WEIGHT",
        "MEDIA-FILE",
    ],
)
def test_planted_faults_are_found(rule, spot, tmp_path):
    folder, (first, second, _), _ = spot
    (tmp_path / "audio").mkdir()
    for file in (folder / "audio").iterdir():
        (tmp_path / "audio" / file.name).write_bytes(file.read_bytes())
    asset, path = first, tmp_path / first.path
    sound = decode(path)
    if rule == "SOUND-LOUDNESS":
        path.write_bytes(wav(sound * 0.5))
    elif rule == "SOUND-PEAK":
        path.write_bytes(wav(sound * (0.97 / abs(sound).max())))
    elif rule == "SOUND-CALL":
        asset = broken(asset, detail={**asset.detail, "script": "Nada."})
    elif rule == "SOUND-CAPTIONS":
        captions = tmp_path / "audio" / "spot.vtt"
        captions.write_text(captions.read_text("utf-8").replace("399,90", "299,90"), "utf-8")
    elif rule == "SOUND-ROBOT":
        asset = broken(asset, detail={**asset.detail, "voice": "espeak-ng formant"})
    elif rule == "AUDIO-FORM":
        asset, path = second, tmp_path / second.path
        path.write_bytes(encode(sound[:, :1], "mp3"))
    elif rule == "AUDIO-WEIGHT":
        asset = broken(second, bytes=1_000_001)
    else:
        path.write_text("not a sound")
    (finding,) = [one for one in check_audio(asset, tmp_path) if one.rule == rule]
    assert finding.place == asset.id
    assert finding.mend
    assert finding.source


def test_captions_that_are_missing_outside_or_late(spot, tmp_path):
    folder, (first, *_), _ = spot
    for name in ("", "../x.vtt", "audio/none.vtt"):
        assert "SOUND-CAPTIONS" in rules_of(
            check_audio(broken(first, detail={**first.detail, "captions": name}), folder)
        )
    (tmp_path / "audio").mkdir()
    (tmp_path / first.path).write_bytes((folder / first.path).read_bytes())
    late = (folder / "audio" / "spot.vtt").read_text("utf-8").replace("00:00:", "00:01:")
    (tmp_path / "audio" / "spot.vtt").write_text(late, "utf-8")
    assert "SOUND-CAPTIONS" in rules_of(check_audio(first, tmp_path))


def test_every_rule_is_a_dated_row():
    assert all(rule.source and rule.date and rule.mend for rule in media_rules().values())


async def test_music_engines(tmp_path):
    ask = MusicAsk(mood="calm", seconds=2.0, seed=1)
    composed = await Composer().play(ask)
    assert seconds(composed) == 2.0
    path = tmp_path / "jingle.wav"
    path.write_bytes(wav(composed))
    recording = Recording(path)
    assert recording.model == "jingle"
    assert seconds(await recording.play(MusicAsk(mood="calm", seconds=5.0))) == 5.0
    assert seconds(await recording.play(MusicAsk(mood="calm", seconds=1.0))) == 1.0
    scripted = ScriptedMusic()
    await scripted.play(ask)
    assert scripted.asks == [ask]


async def test_the_formant_voice_speaks_both_languages_and_repeats():
    voice = EspeakVoice()
    line = await voice.say("Saiba mais sobre o tênis.", "pt-BR")
    assert 0.8 < seconds(line) < 4
    assert (await voice.say("Saiba mais sobre o tênis.", "pt-BR")).tobytes() == line.tobytes()
    assert (await voice.say("Learn more about the shoes.", "en")).tobytes() != line.tobytes()
    assert seconds(await voice.say("Saiba mais sobre o tênis.", "pt-BR", 1.4)) < seconds(line)
    with pytest.raises(EngineError, match="can be said"):
        await voice.say("  ", "pt-BR")
    await voice.close()


async def test_a_scripted_voice_that_fails(tmp_path):
    with pytest.raises(EngineError, match="script says so"):
        await spot_of(tmp_path, ScriptedVoice(quick, fail_on={"Passo Firme. Saiba mais."}))


def test_which_voice(tmp_path, monkeypatch):
    monkeypatch.setattr(voices.importlib.util, "find_spec", lambda name: object())
    models = ModelStore(Settings(home=tmp_path))
    assert isinstance(local_voice(models.path), EspeakVoice)
    models.folder.mkdir(parents=True)
    for name in (voices.MODEL, *voices.VOICES.values()):
        models.path(name).write_bytes(b"x")
    kokoro = local_voice(models.path)
    assert isinstance(kokoro, KokoroVoice)
    assert kokoro.name == "kokoro"
    settings = Settings(home=tmp_path)
    assert isinstance(choose_voice(settings, models), KokoroVoice)
    assert choose_voice(msgspec.structs.replace(settings, voice_engine="none"), models) is None
    with pytest.raises(SettingError, match="not a voice"):
        choose_voice(msgspec.structs.replace(settings, voice_engine="loud"), models)
    url = msgspec.structs.replace(settings, openai_url="https://host.example/v1", openai_voice_model="tts")
    chosen = choose_voice(url, models)
    assert chosen is not None
    assert chosen.model == "tts/alloy"
    with pytest.raises(SettingError, match="is empty"):
        choose_voice(msgspec.structs.replace(url, openai_voice_model="", voice_engine="openai"), models)
    monkeypatch.setattr(voices.importlib.util, "find_spec", lambda name: None)
    assert choose_voice(settings, models) is None
    with pytest.raises(EngineError, match="no voice is installed"):
        choose_voice(msgspec.structs.replace(settings, voice_engine="local"), models)
    with pytest.raises(EngineError, match="no voice is installed"):
        EspeakVoice()


async def test_a_model_file_that_is_none(tmp_path):
    pytest.importorskip("kokoro_onnx")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        await KokoroVoice(path, {}).say("Olá.", "pt-BR")


def test_silence_says_nothing():
    assert seconds(silence(0.5)) == 0.5

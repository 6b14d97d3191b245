"""The marketer's own clips and logo in a film: shown, refused when they cannot be, never left running."""

import io

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageDraw

from arauto.core.brief import Brand
from arauto.core.errors import BriefError, EngineError
from arauto.core.kit import Provenance
from arauto.creative.engines import ScriptedMusic, ScriptedVoice
from arauto.creative.sound.ffmpeg import run
from arauto.creative.video import render_video
from arauto.creative.video.film import Film
from arauto.creative.video.footage import Clip, check_clip
from arauto.creative.video.frame import SHAPES
from tests.creative.briefs import SHOES
from tests.creative.media import quick, quiet, small, work_of
from tests.creative.test_film import board_of, look_of

GREEN, RED = (0, 160, 0), (220, 0, 0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A second of green, then a second of red."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    parts = [f"color=c=0x{bytes(colour).hex()}:size=64x48:rate=10:duration=1" for colour in (GREEN, RED)]
    sources = [word for part in parts for word in ("-f", "lavfi", "-i", part)]
    run([*sources, "-filter_complex", "concat=n=2", "-pix_fmt", "yuv420p", "-c:v", "libx264", str(path)])
    return path


def near(pixels, colour, within=24):
    return (np.abs(pixels.reshape(-1, pixels.shape[-1])[:, :3].astype(int) - colour).max(axis=1) < within).mean()


def pixels_of(data, side):
    return np.frombuffer(data, np.uint8).reshape(side, side, 4)


def test_a_clip_plays_once_more_when_it_ends(clip):
    reader = Clip(clip, 32, 30)
    try:
        assert near(pixels_of(reader.frame(0), 32), GREEN) == 1
        assert near(pixels_of(reader.frame(45), 32), RED) == 1
        assert reader.frame(3) == reader.frame(45)
        assert near(pixels_of(reader.frame(70), 32), GREEN) == 1
    finally:
        reader.close()
    assert reader._process.poll() is not None


def test_a_clip_begins_where_it_is_asked_to(clip):
    reader = Clip(clip, 32, 30, 1.2)
    assert near(pixels_of(reader.frame(0), 32), RED) == 1
    reader.close()


async def test_a_film_shows_the_clip_and_the_logo(clip):
    buffer = io.BytesIO()
    logo = Image.new("RGBA", (120, 40))
    ImageDraw.Draw(logo).rectangle((10, 5, 110, 35), fill=(255, 0, 200, 255))
    logo.save(buffer, "PNG")
    work, shape = work_of(SHOES), small("16x9")
    film = Film(await board_of(work), shape, look_of(work, clips=(clip,), logo=buffer.getvalue()))
    first = film.draw(0.9).copy()
    assert near(first, GREEN) > 0.08
    assert near(first, (255, 0, 200)) > 0.001
    assert near(film.draw(1.6), RED) > 0.08
    film.close()
    assert all(one._process is None or one._process.poll() is not None for one in film._clips)


@pytest.mark.parametrize(("ink", "plated"), [((8, 20, 60, 255), True), ((255, 255, 255, 255), False)])
async def test_a_logo_that_would_not_be_seen_stands_on_a_plate(ink, plated):
    buffer = io.BytesIO()
    logo = Image.new("RGBA", (120, 40))
    ImageDraw.Draw(logo).ellipse((10, 5, 110, 35), fill=ink)
    logo.save(buffer, "PNG")
    work = work_of(msgspec.structs.replace(SHOES, brand=Brand(name="Passo Firme", colours=("#102a66",))))
    film = Film(await board_of(work), small("16x9"), look_of(work, logo=buffer.getvalue()))
    assert (film._sets[0]._tag.under is not None) is plated


async def test_a_kits_film_is_made_of_the_marketers_files(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(SHAPES, "1x1", small("1x1", 0.125))
    options = {"voice": ScriptedVoice(quick), "music": ScriptedMusic(), "shapes": ("1x1",), "lengths": (6.0,)}
    work = msgspec.structs.replace(work_of(SHOES), footage=(clip,))
    (own,) = await render_video(work, tmp_path, quiet, **options)
    assert (own.detail["picture"], own.made.source_type) == ("own", "composite")
    Image.new("RGB", (64, 64), RED).save(tmp_path / "drawn.png")
    drawn_by = Provenance(engine="openai", model="m", source_type="compositeWithTrainedAlgorithmicMedia")
    work = msgspec.structs.replace(work_of(SHOES), pictures=(tmp_path / "drawn.png",), drawn_by=drawn_by)
    (drawn,) = await render_video(work, tmp_path, quiet, **options)
    assert (drawn.detail["picture"], drawn.made) == ("engine", drawn_by)
    assert "Imagem gerada por IA." in drawn.words


async def test_what_is_no_clip_is_refused(clip, tmp_path):
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n", "utf-8")
    sound = tmp_path / "sound.mp4"
    run(["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", str(sound)])
    for path in (playlist, sound):
        with pytest.raises(BriefError, match=r"footage\[0\]"):
            await render_video(msgspec.structs.replace(work_of(SHOES), footage=(path,)), tmp_path, quiet)
    assert check_clip(clip, "footage[0]") == clip
    broken = Clip(playlist, 32, 30)
    with pytest.raises(EngineError, match="breaks off"):
        broken.frame(0)
    broken.close()

"""A film, small and short: made, probed, read by its checks, made again; and what the checks find in broken ones."""

import hashlib
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from arauto.core.brief import Brand
from arauto.creative.audio.captions import cues_of, read_vtt
from arauto.creative.audio.render import speak
from arauto.creative.audio.script import write_script
from arauto.creative.engines import ScriptedMusic, ScriptedVoice
from arauto.creative.sound.ffmpeg import probe, run
from arauto.creative.video import check_video, render_video
from arauto.creative.video.film import Film, Look
from arauto.creative.video.frame import SHAPES
from arauto.creative.video.lettering import Letterer
from arauto.creative.video.motion import ease_in_out, ease_out, part, spring, sway
from arauto.creative.video.storyboard import Storyboard, host_of, write_storyboard
from tests.creative.briefs import COFFEE, SHOES
from tests.creative.media import WHOLE_SHAPES, quick, quiet, small, work_of

WHOLE = msgspec.structs.replace(
    SHOES,
    link="https://www.passofirme.example/tenis",
    disclaimers=("Imagens meramente ilustrativas",),
    offer=msgspec.structs.replace(SHOES.offer, terms="Frete não incluso"),
)


@pytest.fixture(scope="module")
async def film(tmp_path_factory):
    """Six seconds, a sixteenth of the pixels."""
    folder = tmp_path_factory.mktemp("kit")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(SHAPES):
            patch.setitem(SHAPES, name, small(name))
        (asset,) = await render_video(
            work_of(WHOLE),
            folder,
            quiet,
            voice=ScriptedVoice(quick),
            music=ScriptedMusic(),
            shapes=("1x1",),
            lengths=(6.0,),
        )
        yield folder, asset


async def board_of(work, seconds=15.0, letters=32):
    spoken, lasts = await speak(work, ScriptedVoice(quick), (seconds,), legal=False, progress=quiet)
    cues = cues_of([(item.line.text, item.at, item.until) for item in spoken], longest=letters)
    return write_storyboard(work, spoken, lasts, write_script(work, seconds, legal=False).headline, cues)


def rules_of(findings):
    return {finding.rule for finding in findings}


async def test_a_film_passes_its_own_checks(film):
    folder, asset = film
    assert check_video(asset, folder) == []
    found = probe(folder / asset.path)
    assert (found.video, found.pixels, found.audio, found.width, found.height) == ("h264", "yuv420p", "aac", 270, 270)
    assert found.seconds == pytest.approx(6.0, abs=0.05)
    assert asset.facts["price"] == "R$ 399,90"
    assert asset.facts["link"] == WHOLE.link
    assert asset.facts["disclaimers"] == WHOLE.disclaimers[0]
    assert "passofirme.example" in asset.words
    cues = read_vtt((folder / asset.detail["captions"]).read_text("utf-8"))
    assert " ".join(cue.text for cue in cues).split() == asset.detail["script"].split()


async def test_the_same_seed_gives_the_same_bytes(film, tmp_path):
    _, asset = film
    (again,) = await render_video(
        work_of(WHOLE),
        tmp_path,
        quiet,
        voice=ScriptedVoice(quick),
        music=ScriptedMusic(),
        shapes=("1x1",),
        lengths=(6.0,),
    )
    assert again.sha256 == asset.sha256 == hashlib.sha256((tmp_path / again.path).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "rule", ["VIDEO-LENGTH", "VIDEO-FORM", "VIDEO-BRAND", "VIDEO-CALL", "MEDIA-FILE", "SOUND-CAPTIONS"]
)
def test_planted_faults_are_found(rule, film, tmp_path):
    folder, asset = film
    (tmp_path / "video").mkdir()
    for file in (folder / "video").iterdir():
        (tmp_path / "video" / file.name).write_bytes(file.read_bytes())
    path, board = tmp_path / asset.path, tmp_path / asset.detail["storyboard"]
    if rule == "VIDEO-LENGTH":
        path.unlink()
        run(["-i", str(folder / asset.path), "-t", "4", "-c", "copy", str(path)])
    elif rule == "VIDEO-FORM":
        asset = msgspec.structs.replace(asset, placement="9x16")
    elif rule in ("VIDEO-BRAND", "VIDEO-CALL"):
        shown = msgspec.json.decode(board.read_bytes(), type=Storyboard)
        scenes = tuple(msgspec.structs.replace(scene, words=()) for scene in shown.scenes)
        name = shown.name if rule == "VIDEO-CALL" else "Outra"
        board.write_bytes(msgspec.json.encode(msgspec.structs.replace(shown, scenes=scenes, name=name)))
    elif rule == "MEDIA-FILE":
        board.write_text("{")
    else:
        (tmp_path / asset.detail["captions"]).write_text("WEBVTT\n", "utf-8")
    assert rule in rules_of(check_video(asset, tmp_path))
    broken = msgspec.structs.replace(asset, path="video/none.mp4")
    assert rules_of(check_video(broken, tmp_path)) == {"MEDIA-FILE"}


async def test_the_storyboard_has_no_gaps_and_shows_every_fact():
    board = await board_of(work_of(WHOLE))
    assert board.scenes[0].start == 0
    assert board.scenes[-1].end == board.seconds == 15.0
    assert all(one.end == two.start for one, two in pairwise(board.scenes))
    shown = [words.text for scene in board.scenes for words in scene.words]
    message = work_of(WHOLE).message
    for fact in (
        message.price,
        message.was,
        message.call_to_action,
        "passofirme.example",
        message.terms,
        *message.disclaimers,
    ):
        assert fact in shown, fact
    assert any(message.discount in text for text in shown)
    assert any(message.deadline in text for text in shown)
    assert board.name == "Passo Firme"


async def test_without_an_offer_the_benefits_are_shown():
    board = await board_of(work_of(COFFEE))
    kinds = [scene.kind for scene in board.scenes]
    assert kinds[0] == "hook"
    assert kinds[-1] == "close"
    points = [words.text for scene in board.scenes for words in scene.words if words.part == "point"]
    assert "Grãos torrados toda semana" in points


@pytest.mark.parametrize("name", ["9x16", "1x1", "16x9"])
async def test_words_stay_inside_the_safe_zone_and_apart(name):
    """Long names and prices: no label leaves the safe zone, none lies on another."""
    brief = msgspec.structs.replace(
        WHOLE,
        product="assinatura anual do clube de corrida de montanha",
        brand=Brand(name="Companhia Nacional de Calçados Esportivos"),
        offer=msgspec.structs.replace(WHOLE.offer, price=WHOLE.offer.price * 1000, was=WHOLE.offer.was * 1000),
    )
    work, shape = work_of(brief), WHOLE_SHAPES[name]
    film = Film(await board_of(work, letters=shape.caption_letters), shape, look_of(work))
    for place in film._sets:
        items = place._card.items
        for item in items:
            assert item.x >= shape.safe.x - 12
            assert item.x + item.label.width <= shape.safe.right + 12
            assert item.y >= shape.safe.y - 2
            assert item.y + item.label.height <= shape.safe.bottom + 2
        ordered = sorted(items, key=lambda item: item.y)
        assert all(one.y + one.label.height <= two.y + 3 for one, two in pairwise(ordered))


def look_of(work, **changes):
    look = Look(palette=work.palette, fonts=work.fonts, subject="shoe", seed=work.seed)
    return msgspec.structs.replace(look, **changes)


async def test_frames_move_and_repeat():
    work, shape = work_of(WHOLE), small("9x16")
    board = await board_of(work)
    film, other = (Film(board, shape, look_of(work)) for _ in range(2))
    first = film.draw(1.0).copy()
    assert first.shape == (480, 270, 4)
    assert (first[..., 3] == 255).all()
    assert not np.array_equal(first, film.draw(1.2))
    assert np.array_equal(first, other.draw(1.0))
    turning = film._board.scenes[1].start + 0.2
    assert np.unique(film.draw(turning)[..., :3].reshape(-1, 3), axis=0).shape[0] > 50


async def test_the_marketers_picture_is_shown():
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (300, 200), "#ff00aa").save(buffer, "PNG")
    work, shape = work_of(WHOLE), small("16x9")
    film = Film(await board_of(work), shape, look_of(work, pictures=(buffer.getvalue(),)))
    pixels = film.draw(2.5)[..., :3].reshape(-1, 3)
    assert (np.abs(pixels.astype(int) - (255, 0, 170)).max(axis=1) < 6).mean() > 0.1


def test_letters_fit_their_box():
    work = work_of(WHOLE)
    letterer = Letterer(work.fonts.folders)
    options = {"family": work.fonts.display, "colour": "#112233", "most": 120.0, "least": 20.0}
    label = letterer.fit("Incrivelmente confortável de manhã à noite", (400, 260), **options)
    assert label.height <= 261
    assert label.width <= 401
    assert label.lines > 1
    large = letterer.fit("Oi", (400, 260), **options)
    assert large.size == 120
    assert large.lines == 1


def test_motion_begins_and_ends_at_rest():
    for curve in (ease_out, ease_in_out, spring):
        assert curve(0.0) == pytest.approx(0, abs=1e-9)
        assert curve(1.0) == 1.0
    assert max(spring(step / 100) for step in range(100)) > 1.03
    assert (part(1, 2, 1), part(3.5, 2, 1), part(2.5, 2, 1)) == (0, 1, 0.5)
    assert abs(sway(3.3, 7)) <= 1
    assert host_of("https://www.host.example/x?y=1") == "host.example"

"""From a brief's message to films: script, voice, storyboard, frames, MP4 in each shape, captions beside them."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from arauto.core.kit import Asset, KitWork, Progress
from arauto.creative.audio.captions import cues_of, vtt
from arauto.creative.audio.render import (
    Spoken,
    detail_of,
    facts_of,
    made_by,
    mixed,
    settled_voice,
    speak,
    transcript,
    within_peak,
)
from arauto.creative.audio.script import mood_of, write_script
from arauto.creative.audio.standards import Profile, profile
from arauto.creative.banner.art import subject_of
from arauto.creative.banner.pictures import safe_copy
from arauto.creative.engines.music import Composer, MusicAsk, MusicEngine
from arauto.creative.engines.voice import VoiceEngine
from arauto.creative.sound.ffmpeg import BIT_EXACT, decode, raw, raw_input, run, stream
from arauto.creative.sound.samples import Sound
from arauto.creative.video.footage import check_clip
from arauto.creative.video.frame import SHAPES, Shape
from arauto.creative.video.storyboard import Storyboard, host_of, write_storyboard

if TYPE_CHECKING:
    from arauto.creative.video.film import Look

LENGTHS = (6.0, 15.0, 30.0)
FRAMES_A_SECOND = 30


async def render_video(
    work: KitWork,
    out: Path,
    progress: Progress,
    *,
    voice: VoiceEngine | Literal["auto"] | None = "auto",
    music: MusicEngine | None = None,
    loudness: str = "adcp",
    shapes: Sequence[str] = tuple(SHAPES),
    lengths: Sequence[float] = (15.0,),
) -> list[Asset]:
    """A film of each length in each shape below ``out``/video, with captions (``.vtt``), transcript and storyboard.

    All shapes of a length share voice, music and scenes. ``voice`` as in
    :func:`~arauto.creative.audio.render_audio`.

    Raises:
        BriefError: a picture, the logo or a clip of the brief cannot be read.
        EngineError: the voice, the music, the renderer or the encoder failed.
        SettingError: there is no such loudness profile.
    """
    voice = settled_voice(voice)
    for place, path in enumerate(work.footage):
        check_clip(path, f"footage[{place}]")
    folder = out / "video"
    folder.mkdir(parents=True, exist_ok=True)
    assets: list[Asset] = []
    for turn, length in enumerate(lengths):

        def tell(step: str, share: float, turn: int = turn) -> None:
            progress(step, (turn + share) / len(lengths))

        assets += await _length(work, folder, tell, voice, music or Composer(), loudness, shapes, length)
    return assets


async def _length(
    work: KitWork,
    folder: Path,
    progress: Progress,
    voice: VoiceEngine | None,
    music: MusicEngine,
    loudness: str,
    shapes: Sequence[str],
    length: float,
) -> list[Asset]:
    target = profile(loudness)
    spoken, lasts = await speak(
        work, voice, (length,), legal=False, progress=lambda step, share: progress(step, share * 0.2)
    )
    headline = write_script(work, length, legal=False).headline
    bed = await music.play(MusicAsk(mood=mood_of(work), seconds=lasts, seed=work.seed))
    sound = await asyncio.to_thread(mixed, spoken, bed, target, work.seed)
    with tempfile.TemporaryDirectory(prefix="arauto-film-") as scratch:
        track = Path(scratch) / "sound.m4a"
        await asyncio.to_thread(_track, sound, target, track)
        return await _shapes(
            work, folder, progress, (spoken, length, lasts, headline), (voice, music, target), shapes, track
        )


async def _shapes(
    work: KitWork,
    folder: Path,
    progress: Progress,
    said: tuple[list[Spoken], float, float, str],
    by: tuple[VoiceEngine | None, MusicEngine, Profile],
    shapes: Sequence[str],
    track: Path,
) -> list[Asset]:
    """The film in each shape over one sound."""
    (spoken, length, lasts, headline), (voice, music, target) = said, by
    assets = []
    for place, name in enumerate(shapes):
        shape = SHAPES[name]
        cues = cues_of([(item.line.text, item.at, item.until) for item in spoken], longest=shape.caption_letters)
        board = write_storyboard(work, spoken, lasts, headline, cues)
        stem = f"{name}-{length:g}s"
        (folder / f"{stem}.vtt").write_text(vtt(cues, work.message.language), "utf-8")
        (folder / f"{stem}.txt").write_text(transcript(spoken), "utf-8")
        (folder / f"{stem}.json").write_bytes(msgspec.json.format(msgspec.json.encode(board)) + b"\n")

        def tell(share: float, stem: str = stem, place: int = place) -> None:
            progress(f"{stem}.mp4", 0.2 + 0.8 * (place + share) / len(shapes))

        path = folder / f"{stem}.mp4"
        await asyncio.to_thread(_film, board, shape, work, track, path, tell)
        detail = detail_of(spoken, voice, music, target) | {
            "captions": f"video/{stem}.vtt",
            "storyboard": f"video/{stem}.json",
        }
        assets.append(_asset(work, path, shape, board, spoken, detail, voice))
    return assets


def _track(sound: Sound, target: Profile, path: Path) -> None:
    """The sound of all shapes, as AAC that keeps its profile."""

    def write(held: Sound) -> Sound:
        run([*raw_input(held.shape[1]), *BIT_EXACT, "-c:a", "aac", "-b:a", "192k", "-f", "ipod", str(path)], raw(held))
        return decode(path)

    within_peak(sound, target, write)


def _film(
    board: Storyboard, shape: Shape, work: KitWork, track: Path, path: Path, progress: Callable[[float], None]
) -> None:
    """Draw the frames and encode them with the sound."""
    from arauto.creative.video.film import Film

    film, total = Film(board, shape, look_of(work)), round(board.seconds * FRAMES_A_SECOND)

    def frames() -> Iterator[bytes]:
        for number, frame in enumerate(film.frames()):
            if number % 30 == 0:
                progress(number / total)
            yield frame

    stream(_arguments(shape, track, path), frames())


def look_of(work: KitWork) -> Look:
    """What the films of a kit are drawn with; the marketer's pictures and logo decoded and written anew.

    Raises:
        BriefError: one of them cannot be read.
    """
    from arauto.creative.video.film import Look

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = [safe_copy(path, folder, f"pictures[{place}]") for place, path in enumerate(work.pictures)]
        logo = safe_copy(work.logo, folder, "brand.logo", alpha=True) if work.logo else ""
        return Look(
            palette=work.palette,
            fonts=work.fonts,
            subject=subject_of(work.brief),
            seed=work.seed,
            pictures=tuple((folder / name).read_bytes() for name in names),
            clips=work.footage,
            logo=(folder / logo).read_bytes() if logo else b"",
        )


def _arguments(shape: Shape, track: Path, path: Path) -> list[str]:
    """H.264 and AAC as every platform takes them. One thread: the same frames give the same bytes."""
    size = f"{shape.width}x{shape.height}"
    raw = [
        "-f",
        "rawvideo",
        "-pixel_format",
        "rgba",
        "-video_size",
        size,
        "-framerate",
        str(FRAMES_A_SECOND),
        "-i",
        "pipe:0",
    ]
    colour = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format=yuv420p"
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    picture = [
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        "20",
        "-tune",
        "animation",
        "-threads",
        "1",
        "-bf",
        "2",
    ]
    voice = ["-c:a", "copy"]
    exact = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]
    return [
        *raw, "-i", str(track), "-vf", colour, "-filter_threads", "1", *picture, *tags, *voice, *exact,
        "-movflags", "+faststart", "-f", "mp4", str(path),
    ]  # fmt: skip


def _asset(
    work: KitWork,
    path: Path,
    shape: Shape,
    board: Storyboard,
    spoken: Sequence[Spoken],
    detail: dict[str, str],
    voice: VoiceEngine | None,
) -> Asset:
    data = path.read_bytes()
    shown = list(dict.fromkeys(words.text for scene in board.scenes for words in scene.words))
    stem = path.stem
    return Asset(
        id=f"video-{stem}",
        medium="video",
        placement=shape.name,
        variant=f"{stem.partition('-')[2]}",
        path=f"video/{path.name}",
        media_type="video/mp4",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        width=shape.width,
        height=shape.height,
        duration_s=board.seconds,
        words="\n".join([board.name, *shown]),
        facts=facts_of(spoken) | _shown_facts(work, shown),
        made=made_by(work, voice, spoken, film=bool(work.pictures or work.footage)),
        alt=transcript(spoken).strip(),
        detail=detail | {"picture": _picture_of(work), "logo": "own" if work.logo else ""},
    )


def _picture_of(work: KitWork) -> str:
    """What is seen, as the checks read it: a model's picture, the marketer's own, or the name of a drawing."""
    if work.drawn_by:
        return "engine"
    return "own" if work.pictures or work.footage else subject_of(work.brief)


def _shown_facts(work: KitWork, shown: Sequence[str]) -> dict[str, str]:
    """Facts of the Message that stand on the screen, as they stand there."""
    message, text = work.message, "\n".join(shown)
    facts = {
        name: str(getattr(message, name))
        for name in ("price", "was", "discount", "deadline", "terms", "brand", "call_to_action")
        if getattr(message, name) and str(getattr(message, name)) in text
    }
    if message.link and host_of(message.link) in text:
        facts["link"] = message.link
    if message.disclaimers and all(line in text for line in message.disclaimers):
        facts["disclaimers"] = "\n".join(message.disclaimers)
    return facts

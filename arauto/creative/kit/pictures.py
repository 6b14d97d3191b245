"""Pictures of an image engine for a kit whose brief brings none: asked for once, used by banners and films alike."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from arauto.core.brief import Brief
from arauto.core.campaign import Copy
from arauto.core.errors import BriefError, EngineError
from arauto.core.kit import KitWork, Provenance
from arauto.creative.banner import safe_copy
from arauto.creative.engines import ImageAsk, ImageEngine

PICTURES = 2
"""One for each variant of the banners."""
_SIDE = 1024
_PROMPT = (
    "{what}. A photograph for an advertisement of: {product}. Natural light, one clear subject in the middle, calm "
    "background, room to crop on every side{colours}. No words, letters, numbers, logos, frames or screens with text."
)


async def draw_pictures(work: KitWork, engine: ImageEngine, out: Path) -> KitWork:
    """``work`` with the pictures that ``engine`` draws, kept in ``out``/pictures; unchanged when it has pictures.

    The words of the copies say what to draw: facts are not told. A picture is decoded and written anew before anything
    else reads it. When a later one fails, the first ones serve.

    Raises:
        EngineError: not one could be drawn.
    """
    if work.pictures:
        return work
    prompts = picture_prompts(work.brief, work.copies)
    folder = out / "pictures"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    drawn: list[Path] = []
    for turn, prompt in enumerate(prompts):
        try:
            ask = ImageAsk(prompt=prompt, width=_SIDE, height=_SIDE, seed=(work.seed + turn) & 0x7FFFFFFF)
            drawn.append(await asyncio.to_thread(_kept, await engine.draw(ask), folder, turn))
        except EngineError:
            if not drawn:
                raise
            break
    made = Provenance(
        engine=engine.name,
        model=engine.model,
        prompt_sha256=hashlib.sha256(msgspec.json.encode(prompts[: len(drawn)])).hexdigest(),
        seed=work.seed,
        source_type="compositeWithTrainedAlgorithmicMedia",
    )
    return msgspec.structs.replace(work, pictures=tuple(drawn), drawn_by=made)


def picture_prompts(brief: Brief, copies: Sequence[Copy]) -> list[str]:
    """What to draw: the marketer's own hint first, then what the copies suggest; each once."""
    wishes = [brief.image_hint, *(copy.image_suggestion for copy in copies), brief.product]
    different = list(dict.fromkeys(" ".join(wish.split()).rstrip(".") for wish in wishes if wish.strip()))
    brand = brief.brand.colours[:2] if brief.brand else ()
    colours = f", colours that go with {' and '.join(brand)}" if brand else ""
    return [_PROMPT.format(what=wish, product=brief.product, colours=colours) for wish in different[:PICTURES]]


def _kept(body: bytes, folder: Path, turn: int) -> Path:
    with tempfile.NamedTemporaryFile(prefix="arauto-picture-") as file:
        file.write(body)
        file.flush()
        try:
            return folder / safe_copy(Path(file.name), folder, f"picture-{turn}")
        except BriefError:
            raise EngineError(
                "drew nothing that can be read", field="image", mend="try another picture model"
            ) from None

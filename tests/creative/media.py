"""What the tests of sound and film share: work for a kit, small shapes, a quick voice."""

import msgspec

from arauto.core.campaign import Copy
from arauto.core.kit import KitWork
from arauto.creative import compose_message
from arauto.creative.banner import choose_fonts, palette_of
from arauto.creative.video.frame import SHAPES, Box

WHOLE_SHAPES = dict(SHAPES)
"""As they are before any test makes them small."""

COPIES = {
    "pt-BR": (
        Copy(
            title="Passos leves, dias longos",
            description="Conheça o modelo de perto. Decida com calma.",
            image_suggestion="Rua",
        ),
        Copy(title="Por R$ 399,90", description="O preço está na mesa.", image_suggestion="Rua"),
    ),
    "en": (
        Copy(
            title="Light steps, long days",
            description="Take a closer look. Decide in your own time.",
            image_suggestion="Road",
        ),
    ),
}


def work_of(brief, seed=3):
    brand = brief.brand.colours if brief.brand else ()
    return KitWork(
        brief=brief,
        message=compose_message(brief),
        copies=COPIES[brief.language],
        seed=seed,
        palette=palette_of(brand, brief.product),
        fonts=choose_fonts(brief, seed),
    )


def quick(line):
    """Seconds of a line in tests: 30 characters a second."""
    return 0.3 + len(line) / 30


def quiet(step, share):
    assert 0 <= share <= 1, step


def small(name, scale=0.25):
    """The shape, so much smaller."""

    def box(old):
        return Box(old.x * scale, old.y * scale, old.width * scale, old.height * scale)

    shape = WHOLE_SHAPES[name]
    return msgspec.structs.replace(
        shape,
        width=int(shape.width * scale) // 2 * 2,
        height=int(shape.height * scale) // 2 * 2,
        words=box(shape.words),
        art=box(shape.art),
        closing=box(shape.closing),
        safe=box(shape.safe),
        caption_y=shape.caption_y * scale,
        caption_width=shape.caption_width * scale,
        unit=shape.unit * scale,
    )

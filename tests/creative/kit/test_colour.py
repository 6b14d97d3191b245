"""Palettes are readable by construction, whatever the brand's colours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.creative.banner.art import STAGES, drawing, scene, subject_of, subjects
from arauto.creative.banner.colour import contrast, from_lch, mix, palette_of, readable, to_lch
from arauto.creative.banner.frame import ink_on
from tests.creative.briefs import COFFEE, SHOES

COLOURS = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}")


@given(st.lists(COLOURS, max_size=3))
def test_every_pair_of_a_palette_is_readable(colours):
    palette = palette_of(tuple(colours), "Vitalis")
    for ground, ink in (
        (palette.brand, palette.on_brand), (palette.deep, palette.on_deep), (palette.tint, palette.on_tint),
        (palette.accent, palette.on_accent), (palette.paper, palette.ink),
    ):  # fmt: skip
        assert contrast(ground, ink) >= 4.5
    for ground in (palette.brand, palette.deep, palette.tint, palette.paper):
        ink = ink_on(palette, ground)
        assert min(contrast(ink.main, ground), contrast(ink.quiet, ground), contrast(ink.mark, ground)) >= 4.5
        assert contrast(ink.button, ground) >= 3
        assert contrast(ink.on_button, ink.button) >= 4.5


@given(COLOURS)
def test_a_colour_comes_back(colour):
    back = from_lch(to_lch(colour))
    assert all(abs(int(colour[i : i + 2], 16) - int(back[i : i + 2], 16)) <= 8 for i in (1, 3, 5))


def test_contrast_is_wcags():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert readable("#ffff00", "#ffffff", "#333333") == "#333333"
    assert mix("#000000", "#ffffff", 0.0) == "#000000"


def test_a_brand_without_colours_always_has_the_same_ones():
    assert palette_of((), "Vitalis") == palette_of((), "vitalis")


def test_drawings_fit_their_subject():
    assert subject_of(SHOES) == "shoe"
    assert subject_of(COFFEE) == "cup"


@pytest.mark.parametrize("name", subjects())
def test_every_drawing_is_clean_and_coloured(name):
    palette = palette_of(("#0a66c2",), "x")
    for ground in (palette.brand, palette.deep, palette.tint, palette.paper, palette.accent):
        inner = drawing(name, palette, ground)
        assert "{" not in inner
        assert "<script" not in inner
        assert "href" not in inner


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_the_same_again(stage):
    palette = palette_of(("#0a66c2",), "x")
    assert scene("cup", palette, palette.tint, (300, 250), 1, stage) == scene(
        "cup", palette, palette.tint, (300, 250), 1, stage
    )

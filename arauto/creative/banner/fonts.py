"""Fonts: which families are installed, and which pair suits a brief."""

from __future__ import annotations

import importlib.util
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from arauto.core.brief import Brief, Style
from arauto.core.door import from_data
from arauto.core.errors import EngineError
from arauto.core.kit import Fonts

if TYPE_CHECKING:
    import typst

NEEDS_EXTRA = "install the packages of the kit: pip install 'arauto[kit]'"
FALLBACK = "Libertinus Serif"
"""The renderer's own family, for a glyph that no other has."""


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A font family in a Python package."""

    name: str
    module: str
    licence: str


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A family for headlines and one for texts, and the energies that they suit."""

    display: str
    text: str
    suits: tuple[Literal["calm", "balanced", "lively"], ...]


def choose_fonts(brief: Brief, seed: int) -> Fonts:
    """The brand's fonts where they are installed, else the pair that suits the brief; ``seed`` chooses among equals.

    Raises:
        EngineError: when no family is installed.
    """
    folders = _folders()
    families, pairs = _table()
    here = {family.name for family in families if family.module in folders}
    fitting = [pair for pair in pairs if {pair.display, pair.text} <= here]
    if not fitting:
        raise EngineError("no font family is installed", field="fonts", mend=NEEDS_EXTRA)
    energy = (brief.style or Style()).energy
    suiting = [pair for pair in fitting if energy in pair.suits] or fitting
    pair = suiting[seed % len(suiting)]
    wanted = brief.brand.fonts if brief.brand else ()
    known = {name.casefold(): name for name in here}
    display = known.get(wanted[0].casefold(), pair.display) if wanted else pair.display
    text = known.get(wanted[-1].casefold(), pair.text) if wanted else pair.text
    return Fonts(display=display, text=text, folders=tuple(folders.values()))


@cache
def loaded(folders: tuple[Path, ...]) -> typst.Fonts:
    """The renderer's view of those folders, read once a process."""
    try:
        import typst
    except ModuleNotFoundError:
        raise EngineError("the renderer `typst` is not installed", field="banner", mend=NEEDS_EXTRA) from None
    return typst.Fonts(include_system_fonts=False, font_paths=[str(folder) for folder in folders])


@cache
def _folders() -> dict[str, Path]:
    """Where the files of each installed family's package are."""
    found = {}
    for family in _table()[0]:
        spec = importlib.util.find_spec(family.module)
        if spec is not None and spec.submodule_search_locations:
            found[family.module] = Path(next(iter(spec.submodule_search_locations))) / "files"
    return found


@cache
def _table() -> tuple[tuple[Family, ...], tuple[Pair, ...]]:
    text = resources.files("arauto.creative").joinpath("data", "fonts.toml").read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    return tuple(from_data(table["families"], list[Family])), tuple(from_data(table["pairs"], list[Pair]))

"""Banners: palette, type, pictures, layouts; PNG, JPEG and HTML5."""

from arauto.creative.banner.art import subject_of
from arauto.creative.banner.colour import contrast, palette_of
from arauto.creative.banner.fonts import choose_fonts
from arauto.creative.banner.pictures import find_file, safe_copy
from arauto.creative.banner.render import render_banners

__all__ = ["choose_fonts", "contrast", "find_file", "palette_of", "render_banners", "safe_copy", "subject_of"]

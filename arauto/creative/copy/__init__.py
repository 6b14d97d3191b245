"""Texts for every placement: many candidates, checked, ranked, the distinct ones kept."""

from arauto.creative.copy.pool import Pool, Reward, check_text
from arauto.creative.copy.render import render_texts

__all__ = ["Pool", "Reward", "check_text", "render_texts"]

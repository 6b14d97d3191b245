"""Kits: one brief in four media, checked, coherent, with its provenance; bundles for ad servers; a page to look at."""

from arauto.creative.kit.batch import PRESETS, drop_waiver, load_waivers, read_catalogue, save_waiver, with_preset
from arauto.creative.kit.check import check_kit
from arauto.creative.kit.coherence import LEAST, similarity
from arauto.creative.kit.export import BUNDLES, export_kit
from arauto.creative.kit.gallery import save_gallery
from arauto.creative.kit.make import load_kit, make_kit, save_kit, work_of
from arauto.creative.kit.provenance import Signer, read_manifest
from arauto.creative.kit.rules import Waiver, kit_rules, policies, waive

__all__ = [
    "BUNDLES",
    "LEAST",
    "PRESETS",
    "Signer",
    "Waiver",
    "check_kit",
    "drop_waiver",
    "export_kit",
    "kit_rules",
    "load_kit",
    "load_waivers",
    "make_kit",
    "policies",
    "read_catalogue",
    "read_manifest",
    "save_gallery",
    "save_kit",
    "save_waiver",
    "similarity",
    "waive",
    "with_preset",
    "work_of",
]

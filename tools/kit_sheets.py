"""Contact sheets of banners for the docs: the smartwatch kit, the eight layouts, and the other briefs of bench/kits."""

import asyncio
import io
from pathlib import Path

from PIL import Image

from arauto.creative import load_brief
from arauto.creative.banner.art import subject_of
from arauto.creative.banner.frame import Picture
from arauto.creative.banner.layouts import LAYOUTS
from arauto.creative.banner.render import Renderer, design_of
from arauto.creative.kit import work_of
from arauto.creative.placements import banner_places

ROOT = Path(__file__).parents[1]
KITS, IMAGES = ROOT / "bench" / "kits", ROOT / "docs" / "images"
WIDTH, GAP, GROUND = 1600, 20, "#eef0f3"


def banners(name: str, seed: int, jobs: list[tuple[str, str, str]]) -> list[Image.Image]:
    """Banners of a brief: (place, variant, layout) each."""
    work = asyncio.run(work_of(load_brief(KITS / f"{name}.yaml"), KITS, seed=seed))
    with Renderer(work) as renderer:
        out = []
        for place, variant, layout in jobs:
            design = design_of(work, banner_places()[place], variant, layout, Picture(subject_of(work.brief)))
            out.append(Image.open(io.BytesIO(renderer.draw(design)[0])).convert("RGB"))
    return out


def sheet(pictures: list[Image.Image], name: str, most: int = 300) -> None:
    """Rows of pictures, each at most ``most`` pixels high, saved with few colours."""
    rows: list[list[Image.Image]] = [[]]
    used = GAP
    for picture in pictures:
        scale = min(1, most / picture.height, (WIDTH - 2 * GAP) / picture.width)
        small = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
        if used + small.width + GAP > WIDTH:
            rows.append([])
            used = GAP
        rows[-1].append(small)
        used += small.width + GAP
    height = GAP + sum(max(one.height for one in row) + GAP for row in rows)
    whole = Image.new("RGB", (WIDTH, height), GROUND)
    y = GAP
    for row in rows:
        x = GAP
        for one in row:
            whole.paste(one, (x, y))
            x += one.width + GAP
        y += max(one.height for one in row) + GAP
    whole.quantize(192, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def main() -> None:
    """Draw all three."""
    sizes = [
        "1080x1080",
        "1200x628",
        "1080x1920",
        "300x600",
        "160x600",
        "300x250",
        "970x250",
        "728x90",
        "320x100",
        "320x50",
    ]
    first = [(size, "a", "poster") for size in sizes] + [(size, "b", "editorial") for size in sizes]
    sheet(banners("smartwatch", 0, first), "kit-smartwatch.png")
    few = ["1080x1080", "1200x628", "300x250"]
    sheet(banners("cafe", 0, [(size, "a", layout) for layout in LAYOUTS for size in few]), "kit-layouts.png", 230)
    others = []
    for seed, (name, layouts) in enumerate(
        {
            "curso": ("diagonal", "card"),
            "seguro": ("split", "spotlight"),
            "shoes": ("tag", "diagonal"),
            "app": ("poster", "type"),
        }.items()
    ):
        jobs = [(size, variant, layout) for variant, layout in zip("ab", layouts, strict=True) for size in few]
        others += banners(name, seed, jobs)
    sheet(others, "kit-briefs.png", 230)


if __name__ == "__main__":
    main()

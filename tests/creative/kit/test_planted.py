"""Every rule of a kit finds its violation, and names its source."""

import re
import shutil
from datetime import date
from pathlib import Path

import msgspec
import pytest

from arauto.creative.kit import check_kit, kit_rules, policies
from bench.planted import PLANTED

TOUCHED = {planted.place for planted in PLANTED}


@pytest.fixture(scope="module")
def little(made):
    """The kit with only the assets that violations are planted in."""
    kit = msgspec.structs.replace(made[0], assets=tuple(asset for asset in made[0].assets if asset.id in TOUCHED))
    return msgspec.structs.replace(kit, findings=tuple(check_kit(kit, made[1])))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: f"{planted.rule} {planted.name}".strip())
def test_a_violation_is_found(planted, little, made, tmp_path):
    folder = shutil.copytree(made[1], tmp_path / "kit", copy_function=shutil.copy)
    before = {(one.rule, one.place) for one in little.findings}
    assert (planted.rule, planted.place) not in before
    found = check_kit(planted.plant(little, folder), folder)
    hits = [one for one in found if one.rule == planted.rule and one.place == planted.place]
    assert hits, sorted({(one.rule, one.place) for one in found} - before)
    assert all(one.source and one.mend and one.problem and "{" not in one.problem for one in hits)


def test_every_rule_is_planted():
    unplanted = {*kit_rules(), *policies()} - {planted.rule for planted in PLANTED}
    # These are of making: their own tests plant them.
    assert unplanted == {"KIT-MEDIUM", "KIT-PICTURE"}


def test_every_rule_has_a_source_and_a_heading():
    page = (Path(__file__).parents[3] / "docs" / "creative.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z0-9-]+)` \|", page, re.MULTILINE)
    assert rows == [*kit_rules(), *policies()]
    for rule in (*kit_rules().values(), *policies().values()):
        assert rule.source
        assert rule.mend
        assert date.fromisoformat(rule.date)

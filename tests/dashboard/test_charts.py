"""Charts: what is drawn is what was measured."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from arauto.dashboard.charts import Arm, Band, bar, interval_chart, nice_ticks, nice_times, share_chart
from arauto.dashboard.plots import Evidence, Line, Spot, evidence_chart, line_chart, map_chart

SVG = ElementTree


def arm(name="a", value=0.05, low=0.03, high=0.08, hue=0):
    return Arm(name=name, hue=hue, value=value, low=low, high=high, text=f"{value:.0%}")


def intervals(*arms, width=540, least=0.0, most=1.0):
    drawn = interval_chart(
        arms, width=width, least=least, most=most, tick=lambda at: f"{at:.3f}", title="Rates", words="a: 5%"
    )
    return SVG.fromstring(drawn)


def scale(chart):
    """From a value to its place, read from the ticks."""
    ticks = [(float(node.text), float(node.get("x"))) for node in chart.iter("text") if node.get("class") == "tick"]
    (first, at_first), (last, at_last) = ticks[0], ticks[-1]
    return lambda value: at_first + (value - first) / (last - first) * (at_last - at_first)


def test_dots_and_lines_stand_where_the_scale_says():
    arms = [arm("a", 0.05, 0.03, 0.08), arm("b", 0.02, 0.01, 0.04, hue=1)]
    chart = intervals(*arms)
    x = scale(chart)
    for group, one in zip(chart.iter("g"), arms, strict=True):
        (dot,) = group.findall("circle")
        assert float(dot.get("cx")) == pytest.approx(x(one.value), abs=0.2)
        line = group.findall("path")[0].get("d")
        start, end = re.fullmatch(r"M([\d.]+) [\d.]+H([\d.]+)", line).groups()
        assert float(start) == pytest.approx(x(one.low), abs=0.2)
        assert float(end) == pytest.approx(x(one.high), abs=0.2)


def test_an_arm_with_little_data_does_not_press_the_others_together():
    chart = intervals(arm("a", 0.05, 0.04, 0.06), arm("b", 0.03, 0.0, 0.9, hue=1))
    x = scale(chart)
    assert x(0.06) - x(0.04) > 40
    cut = [path.get("d") for path in list(chart.iter("g"))[1].findall("path")]
    assert any("l" in d for d in cut), "an arrow says that the interval goes on"
    assert all(0 <= float(number) <= 540 for d in cut for number in re.findall(r"[MH]([\d.]+)", d))


def test_a_scale_may_begin_above_its_least():
    """Two ratings between 4 and 5 are not drawn as if 1 to 4 mattered."""
    chart = intervals(arm("a", 4.5, 4.4, 4.6), arm("b", 4.7, 4.6, 4.8), least=1.0, most=5.0)
    ticks = [float(node.text) for node in chart.iter("text") if node.get("class") == "tick"]
    assert 4 <= ticks[0] <= 4.4
    assert ticks[-1] >= 4.8


def test_extremes_can_be_drawn():
    for value, low, high in ((0.0, 0.0, 1.0), (1.0, 0.2, 1.0), (0.0, 0.0, 0.0001), (0.5, 0.5, 0.5)):
        text = SVG.tostring(intervals(arm("a", value, low, high)), encoding="unicode")
        assert "nan" not in text
        assert "inf" not in text


def test_texts_are_escaped():
    drawn = interval_chart([arm('<b>"')], width=300, least=0, most=1, tick=str, title='<script>"', words="&")
    assert "<script>" not in drawn
    assert SVG.fromstring(drawn).get("aria-label") == '<script>". &'


def corners(path):
    """The corners of a path of M, V, H and Z."""
    x = y = 0.0
    for command, numbers in re.findall(r"([MVHZ])([\d. ]*)", path):
        if command == "M":
            x, y = map(float, numbers.split())
        elif command == "V":
            y = float(numbers)
        elif command == "H":
            x = float(numbers)
        yield x, y


def area(path):
    points = list(corners(path))
    return abs(sum(a * d - c * b for (a, b), (c, d) in zip(points, [*points[1:], points[0]], strict=True))) / 2


def test_layers_fill_the_chart_in_proportion_to_share_and_time():
    """Half of the traffic for one fifth of the time and nine tenths for the rest: 82 % of the area."""
    bands = [Band(name="a", hue=0, shares=[0.5, 0.1]), Band(name="b", hue=1, shares=[0.5, 0.9])]
    drawn = share_chart(bands, [1000, 3000], 11_000, width=540, title="t", words="w", tick=str)
    areas = [area(node.get("d")) for node in SVG.fromstring(drawn).iter("path") if node.get("class") == "area"]
    assert areas[1] / sum(areas) == pytest.approx(0.82, abs=0.005)


def test_letters_beside_the_layers_never_overlap():
    bands = [Band(name=str(place), hue=place, shares=[1 / 18]) for place in range(18)]
    drawn = SVG.fromstring(share_chart(bands, [0], 1000, width=330, title="t", words="w", tick=str))
    heights = [float(node.get("y")) for node in drawn.iter("text") if node.get("class").startswith("name")]
    assert len(heights) >= 9
    assert all(above - below >= 13 - 1e-6 for above, below in itertools.pairwise(heights))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.037), (4.2, 4.9), (0, 1e-4)])
def test_ticks_are_round_and_cover(low, high):
    ticks = nice_ticks(low, high, count=4)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert 2 <= len(ticks) <= 7
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in (1, 2, 5)


@pytest.mark.parametrize("seconds", [0.4, 7, 61, 900, 86_400, 3_000_000])
def test_times_are_round_and_within(seconds):
    times = nice_times(seconds, count=5)
    assert times[0] == 0
    assert times[-1] <= seconds
    assert len(times) <= 7


def test_a_bar_is_as_long_as_its_share():
    for share, width in ((0.0, "0.0"), (0.25, "14.0"), (1.0, "56.0"), (1.7, "56.0")):
        fill = SVG.fromstring(bar(share, 12)).findall("rect")[1]
        assert fill.get("width") == width


def test_lines_stand_where_their_values_are_and_reweightings_are_marked():
    lines = [Line(name="a", hue=0, values=[None, 0.1, 0.2]), Line(name="b", hue=1, values=[0.3, 0.3, 0.1])]
    chart = SVG.fromstring(
        line_chart(
            lines, [0, 60_000, 120_000], width=540, title="T", words="w", tick=lambda at: f"{at:.2f}",
            elapsed=str, marks=[60_000, 999_999],
        )
    )  # fmt: skip
    ticks = {
        float(node.text): float(node.get("y")) - 4 for node in chart.iter("text") if node.get("text-anchor") == "end"
    }
    paths = [group.find("path").get("d") for group in chart.iter("g")]
    points = [[tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]] for path in paths]
    assert [len(one) for one in points] == [2, 3]
    low, high = min(ticks), max(ticks)
    for value, (_, y) in zip((0.1, 0.2), points[0], strict=True):
        there = ticks[high] + (high - value) / (high - low) * (ticks[low] - ticks[high])
        assert y == pytest.approx(there, abs=0.2)
    assert points[0][0][0] == points[1][1][0], "the same moment, the same place"
    assert len([path for path in chart.iter("path") if path.get("class") == "mark"]) == 1
    single = line_chart([lines[0]], [0, 1, 2], width=330, title="T", words="", tick=str, elapsed=str, bounds=(0, 1))
    assert "<path" in single
    dot = line_chart([Line(name="a", hue=0, values=[0.5])], [0], width=330, title="T", words="", tick=str, elapsed=str)
    assert '<circle class="dot"' in dot


def test_no_circle_of_a_map_hides_another():
    spots = [
        Spot(name=str(place), hue=place, x=place % 2, y=place % 3 * 0.01, share=share, text="<t>")
        for place, share in enumerate((0.5, 0.2, 0.1, 0.1, 0.05, 0.05))
    ]
    chart = SVG.fromstring(map_chart(spots, width=330, title="T", words="w"))
    circles = [tuple(float(one.get(name)) for name in ("cx", "cy", "r")) for one in chart.iter("circle")]
    height = float(chart.get("height"))
    for (x, y, r), (u, v, s) in itertools.combinations(circles, 2):
        assert math.hypot(x - u, y - v) > max(r, s), "the name in the middle can be read"
    assert all(r <= x <= 330 - r and r <= y <= height - r for x, y, r in circles)
    areas = [r * r for _, _, r in circles]
    assert areas[0] / areas[1] == pytest.approx(2.5, rel=0.01)


def test_evidence_reaches_its_boundary_when_it_is_there():
    rows = [
        Evidence(name="ctr", safety=0.5, harm=-3.0, text="half"),
        Evidence(name="load", safety=2.0, harm=0.25, text="over"),
    ]
    chart = SVG.fromstring(evidence_chart(rows, width=540, title="T", words="w", safe="go", harmful="back"))
    bars = [(one.get("class"), float(one.get("x")), float(one.get("width"))) for one in chart.iter("rect")]
    grid, bad, good = (float(re.match(r"M([\d.]+)", path.get("d")).group(1)) for path in chart.iter("path"))
    assert [kind for kind, _, _ in bars] == ["bad", "good", "bad", "good"]
    assert bars[0][2] == 0.0
    assert bars[1][2] == pytest.approx((good - grid) / 2, abs=0.2)
    assert bars[3][1] + bars[3][2] == pytest.approx(good, abs=0.2)
    assert bars[2][1] == pytest.approx(grid - (grid - bad) / 4, abs=0.2)

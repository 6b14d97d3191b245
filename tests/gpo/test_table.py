import numpy as np
import polars as pl
import pytest

from arauto.core.errors import InputError, NotFoundError
from arauto.gpo import read_table, table_of
from arauto.gpo.pairs import pairs_of, z_of
from arauto.gpo.table import VISITOR_CLICKS, plain
from tests.gpo.data import frame

GOOD = {"test_id": ["a", "a"], "text": ["one", "two"], "impressions": [10, 10], "clicks": [1, 2]}


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_every_format_reads_the_same(tmp_path, ending):
    data, path = frame(5), tmp_path / f"t.{ending}"
    {"parquet": data.write_parquet, "csv": data.write_csv, "jsonl": data.write_ndjson}[ending](path)
    assert read_table(path).digest() == table_of(data).digest()


def test_the_archives_names_are_known():
    data = frame(3).rename({"test_id": "clickability_test_id", "text": "headline", "image_id": "eyecatcher_id"})
    assert table_of(data).digest() == table_of(frame(3)).digest()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"clicks": [1, 11]}, "clicks", "row 2"),
        ({"clicks": [-1, 2]}, "clicks", "row 1"),
        ({"impressions": [10, -1]}, "impressions", "negative"),
        ({"impressions": ["x", "y"]}, "impressions", "numbers"),
        ({"clicks": [None, 1]}, "clicks", "missing"),
        ({"text": ["one", " "]}, "text", "empty"),
        ({"text": ["one", "tw\x00o"]}, "text", "control"),
        ({"text": ["one", "x" * 3000]}, "text", "longer"),
        ({"test_id": [None, "a"]}, "test_id", "missing"),
    ],
)
def test_a_bad_column_is_named(change, field, words):
    with pytest.raises(InputError, match=words) as error:
        table_of(pl.DataFrame({**GOOD, **change}))
    assert error.value.field == field
    assert error.value.mend


def test_a_missing_column_file_or_format_is_named(tmp_path):
    with pytest.raises(InputError) as error:
        table_of(pl.DataFrame(GOOD).drop("clicks"))
    assert error.value.field == "clicks"
    with pytest.raises(NotFoundError):
        read_table(tmp_path / "none.csv")
    odd = tmp_path / "t.xls"
    odd.write_text("x")
    with pytest.raises(InputError, match="not known"):
        read_table(odd)
    broken = tmp_path / "t.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="cannot be read"):
        read_table(broken)
    with pytest.raises(InputError, match="no rows"):
        table_of(pl.DataFrame(GOOD).head(0))


def test_the_same_arm_twice_is_one_arm():
    table = table_of(pl.concat([pl.DataFrame(GOOD), pl.DataFrame(GOOD)]))
    assert len(table) == 2
    assert table.impressions.tolist() == [20, 20]


def test_a_split_keeps_tests_and_texts_apart():
    data = pl.concat([frame(40), frame(1, seed=1).with_columns(text=pl.lit(frame(40)["text"][0]))])
    table = table_of(data)
    left, right = table.split(0.5, seed=3)
    assert set(left.test_ids).isdisjoint(right.test_ids)
    assert set(left.text).isdisjoint(right.text)
    assert len(left) + len(right) == len(table)
    assert 10 < len(left.test_ids) < 31


def test_pairs_stay_within_test_and_image():
    data = pl.DataFrame(
        {
            "test_id": ["a", "a", "a", "b", "b"],
            "text": ["one", "two", "three", "four", "five"],
            "impressions": [1000, 1000, 1000, 1000, 0],
            "clicks": [10, 40, 40, 5, 0],
            "image_id": ["i", "i", "j", "i", "i"],
        }
    )
    table = table_of(data)
    pairs = pairs_of(table)
    assert {table.text[i] for i in (pairs.first[0], pairs.second[0])} == {"one", "two"}
    assert pairs.z.size == 1
    assert pairs.significant.all()


def test_z_is_the_pooled_statistic():
    z = z_of(*(np.array([x]) for x in (30.0, 1000.0, 50.0, 1000.0)))
    pooled = 0.04
    assert z[0] == pytest.approx(-0.02 / np.sqrt(pooled * (1 - pooled) * 2 / 1000))


def test_few_visitors_cannot_move_the_counts():
    honest = [("t", "one", 1, int(i % 10 == 0), f"v{i}") for i in range(1000)]
    fraud = [("t", "one", 1, 1, "robot") for _ in range(500)] + [(f"u{i}", "x", 1, 1, "robot") for i in range(50)]
    names = ["test_id", "text", "impressions", "clicks", "visitor_id"]
    table = table_of(pl.DataFrame(honest + fraud, schema=names, orient="row"))
    clean = table_of(pl.DataFrame(honest, schema=names, orient="row"))
    one = table.text.index("one")
    assert clean.clicks[0] == 100
    assert abs(table.clicks[one] - 100) < 1
    assert table.clicks.sum() - 100 == pytest.approx(VISITOR_CLICKS)


def test_markup_becomes_a_line():
    assert plain("<p>Fish &amp;\n<b>chips</b></p>") == "Fish & chips"

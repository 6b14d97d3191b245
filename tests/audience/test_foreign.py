"""Users' own index files open, and ours open elsewhere."""

import faiss
import numpy as np
import pytest

from arauto.audience import VisitorIndex, open_annoy, open_faiss, write_faiss
from arauto.core.errors import InputError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(300, 8)).astype(np.float32)
KEYS = np.arange(300) * 7 + 1


def made(kind):
    if kind == "flat":
        index = faiss.IndexFlatL2(8)
        index.add(ROWS)
        return index
    if kind == "map":
        index = faiss.IndexIDMap2(faiss.IndexFlatIP(8))
    elif kind == "old map":
        index = faiss.IndexIDMap(faiss.IndexFlatL2(8))
    elif kind == "ivf":
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(8), 8, 4)
        index.cp.min_points_per_centroid = 1
        index.train(ROWS)
    else:
        index = faiss.IndexHNSWFlat(8, 8)
        index.add(ROWS)
        return index
    index.add_with_ids(ROWS, KEYS)
    return index


@pytest.mark.parametrize("kind", ["flat", "map", "old map", "ivf", "hnsw"])
def test_a_faiss_file_opens_as_ours(tmp_path, kind):
    own = made(kind)
    faiss.write_index(own, str(tmp_path / "index.faiss"))
    found = open_faiss(tmp_path / "index.faiss")
    keys = np.arange(300) if kind in ("flat", "hnsw") else KEYS
    assert found.keys.tolist() == keys.tolist()
    assert found.metric == ("cosine" if kind == "map" else "l2")
    queries = RNG.normal(size=(20, 8)).astype(np.float32)
    if found.metric == "l2":
        truth = np.argsort(np.square(queries[:, None] - ROWS[None]).sum(axis=2), axis=1)[:, :5]
        assert found.nearest(queries, 5)[0].tolist() == keys[truth].tolist()


def test_ours_opens_in_faiss_with_the_same_answers(tmp_path):
    index = VisitorIndex(8)
    index.put(KEYS, ROWS)
    assert write_faiss(index, tmp_path / "out.faiss") == 300
    again = faiss.read_index(str(tmp_path / "out.faiss"))
    queries = np.ascontiguousarray(ROWS[:10])
    assert again.search(queries, 4)[1].tolist() == index.nearest(queries, 4)[0].tolist()
    assert write_faiss(VisitorIndex(3), tmp_path / "empty.faiss") == 0


def annoy_file(path, head, rows):
    """A file as Annoy 1.17 lays it out: items, then a split node, then the root again."""
    nodes = [np.int32([1]).tobytes() + bytes(head - 4) + row.astype("<f4").tobytes() for row in rows]
    inner = np.int32([len(rows)]).tobytes() + bytes(head - 4) + bytes(4 * rows.shape[1])
    path.write_bytes(b"".join([*nodes, inner, inner]))


@pytest.mark.parametrize(("metric", "head"), [("angular", 12), ("euclidean", 16)])
def test_an_annoy_file_opens_as_ours(tmp_path, metric, head):
    annoy_file(tmp_path / "i.ann", head, ROWS[:50])
    found = open_annoy(tmp_path / "i.ann", 8, metric)
    assert found.keys.tolist() == list(range(50))
    if metric == "euclidean":
        assert found.vectors(found.keys) == pytest.approx(ROWS[:50])
    for dimensions in (5, 9):
        with pytest.raises(InputError):
            open_annoy(tmp_path / "i.ann", dimensions, metric)


def test_what_is_no_index_is_refused(tmp_path):
    (tmp_path / "bad").write_bytes(b"IxXX nonsense")
    for call in (
        lambda: open_faiss(tmp_path / "bad"),
        lambda: open_faiss(tmp_path / "absent"),
        lambda: open_annoy(tmp_path / "absent", 8),
    ):
        with pytest.raises(InputError) as raised:
            call()
        assert raised.value.field == "file"
    index = faiss.IndexPreTransform(faiss.PCAMatrix(8, 4), faiss.IndexFlatL2(4))
    index.train(ROWS)
    index.add(ROWS)
    faiss.write_index(index, str(tmp_path / "pca.faiss"))
    with pytest.raises(InputError, match="transforms"):
        open_faiss(tmp_path / "pca.faiss")

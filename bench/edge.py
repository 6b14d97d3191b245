"""Edge: accuracy on texts that taught it nothing, the same integers in Chromium, download, times, and canaries.

Needs ``ARAUTO_DATA_DIR`` (the folder with ``pt_sentiment/``) and a Chromium. The texts are halved by their hash: word
lists, temperature and threshold were chosen looking at the even half only; the odd half is what is promised on.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arauto.edge import RESEARCH, Example, assets, evaluate, read_examples, shipped, train, train_shipped
from arauto.edge.evaluate import Evaluation
from bench.edge_browser import in_browser


def main() -> dict[str, Any]:
    """Measure all of it."""
    texts = _texts()
    halves = {
        name: [one for one in texts if _half(one) == place] for place, name in enumerate(("tuned_on", "kept_back"))
    }
    model = shipped()
    kept, whole = evaluate(model, halves["kept_back"]), evaluate(model, texts)
    research = _research(texts)
    again = train_shipped()
    quantised = _float_gap(again.float_scores, texts)
    sizes = {name: len(gzip.compress(asset.body, 9)) for name, asset in assets().items()}
    browser = asyncio.run(in_browser(texts))
    promises = {
        "download ≤ 40 kB gzipped": sum(sizes.values()) <= 40_000,
        "reviews ≥ 0.90 (kept back)": kept.corpora["repro"].accuracy >= 0.90,
        "macro-F1 over all texts ≥ 0.75 (kept back)": kept.overall.macro_f1 >= 0.75,
        "mean of nine macro-F1 ≥ 0.75 (kept back)": kept.mean_macro_f1 >= 0.75,
        "ECE ≤ 0.03 (kept back)": kept.overall.ece <= 0.03,
        "research: reviews ≥ 0.96": research.corpora["repro"].accuracy >= 0.96,
        "research: macro-F1 ≥ 0.80": research.overall.macro_f1 >= 0.80,
        "int4 within 0.5 points of float": quantised["gap_points"] <= 0.5,
        **browser.pop("promises"),
    }
    return {
        "passed": all(promises.values()),
        "promises": promises,
        "download_gzipped": sum(sizes.values()),
        "files_gzipped": {name[:24]: size for name, size in sizes.items()},
        "shipped_on_kept_back_half": _rounded(kept),
        "shipped_on_tuned_half": _rounded(evaluate(model, halves["tuned_on"])),
        "shipped_on_all": _rounded(whole),
        "research_on_held_out_fifth": _rounded(research),
        "quantisation": quantised,
        "shipped_file_is_reproduced": again.model.renewed(model.manifest).to_bytes() == model.to_bytes(),
        **browser,
    }


def _texts() -> list[Example]:
    folder = os.environ.get("ARAUTO_DATA_DIR")
    if not folder:
        raise SystemExit("set ARAUTO_DATA_DIR to the folder that holds pt_sentiment/train.parquet")
    return read_examples(Path(folder) / "pt_sentiment" / "train.parquet")


def _half(one: Example) -> int:
    return sha256(one.text.encode()).digest()[0] % 2


def _research(texts: list[Example]) -> Evaluation:
    held = np.random.default_rng(0).random(len(texts)) < 0.2
    known = [one for one, out in zip(texts, held, strict=True) if not out]
    model = train(known, RESEARCH, name="research", version="1", languages=("pt-BR",), data="pt_sentiment").model
    return evaluate(model, [one for one, out in zip(texts, held, strict=True) if out])


def _float_gap(float_scores: Any, texts: list[Example]) -> dict[str, float]:
    truth = np.array([one.label > 0 for one in texts])
    scores = float_scores([one.text for one in texts])
    before = float(np.mean((scores[:, 2] > scores[:, 0]) == truth))
    after = evaluate(shipped(), texts).overall.accuracy
    return {"float": round(before, 4), "int4": round(after, 4), "gap_points": round(100 * max(0.0, before - after), 2)}


def _rounded(found: Evaluation) -> Any:
    def trim(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: trim(inner) for name, inner in value.items()}
        return round(value, 4) if isinstance(value, float) else value

    return trim(msgspec.to_builtins(found))

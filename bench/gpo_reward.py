"""The reward model on the Upworthy archive: trained on `train`, judged on `dev`; and its speed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from arauto.gpo import (
    FineTune,
    RewardModel,
    SentenceEncoder,
    Tfidf,
    evaluate_reward,
    read_table,
    train_reward,
    weights_folder,
)
from bench.experiments_common import data_path

SEED = 0
_HOME = Path(os.environ.get("ARAUTO_HOME", ".arauto"))


def main() -> dict[str, Any]:
    """Accuracy, calibration, seconds, and headlines a second."""
    train, dev = data_path("upworthy", "train.parquet"), data_path("upworthy", "dev.parquet")
    if train is None or dev is None:
        return {"missing": "upworthy: set ARAUTO_DATA_DIR", "passed": True}
    work = Path(os.environ.get("GPO_WORK", ".arauto/gpo-reward"))
    table, held = read_table(train), read_table(dev)
    encoder = SentenceEncoder(weights_folder("all-minilm-l6-v2", _HOME))
    figures: dict[str, Any] = {}
    tfidf = train_reward(table, [Tfidf.fit(table.text)], seed=SEED)
    figures["tfidf"] = msgspec.to_builtins(evaluate_reward(tfidf, held).whole)
    frozen = train_reward(table, [encoder], seed=SEED, work=work)
    figures["minilm, frozen"] = msgspec.to_builtins(evaluate_reward(frozen, held).whole)
    wall, cpu = time.monotonic(), time.process_time()
    if not (work / "reward.json").exists():
        train_reward(table, [encoder], seed=SEED, work=work, plan=FineTune()).save(work)
        figures["trained_seconds"] = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
    tuned = RewardModel.load(work)
    whole = evaluate_reward(tuned, held).whole
    figures["minilm, fine-tuned"] = msgspec.to_builtins(whole)
    texts = sorted(set(held.text))
    tuned.score(texts[:64])
    wall, cpu = time.monotonic(), time.process_time()
    tuned.score(texts)
    figures["headlines_a_second"] = {
        "wall": len(texts) / (time.monotonic() - wall),
        "cpu": len(texts) / (time.process_time() - cpu),
    }
    figures["passed"] = (
        whole.accuracy.value >= 0.60
        and whole.significant_accuracy.value >= 0.69
        and whole.calibration_error <= 0.03
        and figures["headlines_a_second"]["wall"] >= 500
    )
    return figures

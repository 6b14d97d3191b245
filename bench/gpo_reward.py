"""The reward model on the Upworthy archive: trained on `train`, judged on `dev`; and its speed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from arauto.gpo import (
    FineTune,
    RewardModel,
    SentenceEncoder,
    Tfidf,
    evaluate_reward,
    int8,
    read_table,
    train_reward,
    weights_folder,
)
from arauto.gpo.extras import need
from bench.experiments_common import data_path

SEED = 0
_HOME = Path(os.environ.get("ARAUTO_HOME", ".arauto"))


def main() -> dict[str, Any]:
    """Accuracy, calibration, seconds, and headlines a second. Models that ``GPO_WORK`` holds are not trained again."""
    train, dev = data_path("upworthy", "train.parquet"), data_path("upworthy", "dev.parquet")
    if train is None or dev is None:
        return {"missing": "upworthy: set ARAUTO_DATA_DIR", "passed": True}
    work = Path(os.environ.get("GPO_WORK", ".arauto/gpo-reward"))
    table, held = read_table(train), read_table(dev)
    encoder = SentenceEncoder(weights_folder("all-minilm-l6-v2", _HOME))
    plans: dict[str, tuple[Path, Callable[[], RewardModel]]] = {
        "tfidf": (work / "tfidf", lambda: train_reward(table, [Tfidf.fit(table.text)], seed=SEED)),
        "minilm, frozen": (work / "frozen", lambda: train_reward(table, [encoder], seed=SEED, work=work)),
        "minilm, fine-tuned": (work, lambda: train_reward(table, [encoder], seed=SEED, work=work, plan=FineTune())),
    }
    figures: dict[str, Any] = {"eight_bits": int8.supported()}
    for name, (folder, make) in plans.items():
        if not (folder / "reward.json").exists():
            with Clock() as clock:
                make().save(folder)
            (folder / "seconds.json").write_text(json.dumps(clock.seconds), "utf-8")
        whole = evaluate_reward(RewardModel.load(folder), held).whole
        figures[name] = msgspec.to_builtins(whole)
        if (folder / "seconds.json").exists():
            figures[name]["trained_seconds"] = json.loads((folder / "seconds.json").read_text("utf-8"))
    figures["headlines_a_second"] = speed = speeds(RewardModel.load(work), sorted(set(held.text)))
    figures["passed"] = (
        whole.accuracy.value >= 0.60
        and whole.significant_accuracy.value >= 0.69
        and whole.calibration_error <= 0.03
        and max(each["wall"] for each in speed.values()) >= 500
    )
    return figures


def speeds(model: RewardModel, texts: list[str]) -> dict[str, dict[str, float]]:
    """Texts a second of the wall and of CPU time, with one thread and with as many as there are cores."""
    torch = need("torch")
    found: dict[str, dict[str, float]] = {}
    before = torch.get_num_threads()
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        model.score(texts[:64])
        with Clock() as clock:
            model.score(texts)
        found[f"{threads} threads"] = {kind: round(len(texts) / s, 1) for kind, s in clock.seconds.items()}
    torch.set_num_threads(before)
    return found


class Clock:
    """Seconds of the wall and of this process's CPU."""

    def __enter__(self) -> Self:
        self._from = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._from
        self.seconds = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}

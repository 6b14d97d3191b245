"""Runs in the peers' environment: TRL's RLOO and GRPO from our base, on our reward models; truth for each nat of KL.

The same base, LoRA (rank 8, α 16, all linear layers), proxy, prompts, texts a batch, epochs and learning rate as ours.
KL is measured as ours is: the sum of log π - log ρ over what was written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent.parent))


def main(question: Path, answer: Path) -> None:
    """The curve of each algorithm asked for."""
    import torch  # type: ignore[import-not-found, unused-ignore]
    import trl  # type: ignore[import-not-found, unused-ignore]

    torch.set_num_threads(1)
    given = json.loads(str(np.load(question)["given"]))
    curves = {name: curve(name, given) for name in given["algorithms"]}
    answer.write_text(json.dumps({"curves": curves, "trl": trl.__version__}), "utf-8")


def curve(name: str, given: dict[str, Any]) -> list[dict[str, float]]:
    """KL, proxy and gold of every batch of one run."""
    import datasets  # type: ignore[import-not-found]
    import peft  # type: ignore[import-not-found]
    import trl  # type: ignore[import-not-found, unused-ignore]

    from arauto.gpo import CUT, Generator, Objective, RewardModel

    made = Generator.load(Path(given["base"]))
    made.tokenizer.padding_side = "left"
    proxy, gold = (RewardModel.load(Path(given[part])) for part in ("proxy", "gold"))
    judge = Objective(proxy, seed=given["seed"])
    points: list[dict[str, float]] = []

    def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        cut = [made.end not in ids for ids in completion_ids]
        texts = [
            made.decode([i for i in ids if i != made.end]) + (CUT if over else "")
            for ids, over in zip(completion_ids, cut, strict=True)
        ]
        earned = judge(texts, [0] * len(texts), len(points))
        true = gold.score([text.removesuffix(CUT) or " " for text in texts]).mean
        points.append(
            {
                "kl": round(divergence(trainer, prompts, completion_ids), 3),
                "proxy": round(float(earned.score.mean()), 4),
                "gold": round(float(true.mean()), 4),
            }
        )
        return [float(value) for value in earned.score]

    config, trainer_of = {"rloo": (trl.RLOOConfig, trl.RLOOTrainer), "grpo": (trl.GRPOConfig, trl.GRPOTrainer)}[name]
    per_step = given["minibatch"]
    arguments = config(
        output_dir=given["work"], report_to="none", save_strategy="no", use_cpu=True, seed=given["seed"], bf16=False,
        learning_rate=given["learning_rate"], lr_scheduler_type="constant", beta=given["beta"], max_grad_norm=1.0,
        num_generations=given["group"], per_device_train_batch_size=per_step, gradient_accumulation_steps=1,
        steps_per_generation=given["batch"] // per_step, num_iterations=given["epochs"],
        max_steps=given["iterations"] * given["epochs"] * given["batch"] // per_step,
        max_completion_length=made.most_text, temperature=1.0, top_k=0, top_p=1.0, disable_tqdm=True,
        gradient_checkpointing=False, logging_strategy="no",
    )  # fmt: skip
    text = ["<begin>" + made.decode(made.prompt(context)[1:-1]) + "<turn>" for context in given["contexts"]]
    trainer = trainer_of(
        model=made.model, reward_funcs=reward, args=arguments, processing_class=made.tokenizer,
        train_dataset=datasets.Dataset.from_dict({"prompt": text}),
        peft_config=peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
    )  # fmt: skip
    trainer.train()
    return points


def divergence(trainer: Any, prompts: list[str], written: list[list[int]]) -> float:
    """The mean over texts of log π - log ρ, summed over their tokens; ρ is the model without its adapter."""
    import torch

    tokenizer, total = trainer.processing_class, 0.0
    model = trainer.accelerator.unwrap_model(trainer.model)
    given = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    for at in range(0, len(given), 64):
        rows = [prompt + ids for prompt, ids in zip(given[at : at + 64], written[at : at + 64], strict=True)]
        tokens = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_token_id)
        mask = torch.zeros_like(tokens)
        wrote = torch.zeros(tokens.shape)
        for place, (row, prompt) in enumerate(zip(rows, given[at : at + 64], strict=True)):
            tokens[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
            wrote[place, len(prompt) : len(row)] = 1.0
        with torch.no_grad():
            now = picked(model(input_ids=tokens, attention_mask=mask).logits, tokens)
            with model.disable_adapter():
                before = picked(model(input_ids=tokens, attention_mask=mask).logits, tokens)
        total += float(((now - before) * wrote[:, 1:]).sum())
    return total / len(given)


def picked(logits: Any, tokens: Any) -> Any:
    """Log probability of each token after the first."""
    return logits[:, :-1].float().log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

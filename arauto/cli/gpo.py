"""``arauto gpo …``: from real feedback to a better generator."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.table import Table as Grid

import arauto
from arauto.cli.common import as_json, console, print_json, settings_of
from arauto.cli.data import bar
from arauto.core.errors import ModelFileError
from arauto.gpo import (
    CUT,
    Algorithm,
    Encoder,
    FineTune,
    Gate,
    GateReport,
    PPOPlan,
    Progress,
    RewardModel,
    SentenceEncoder,
    Table,
    Tfidf,
    check_plan,
    compare,
    contexts_of,
    evaluate_reward,
    export_gguf,
    load_policy,
    make_base,
    optimise,
    read_contexts,
    read_table,
    require_passed,
    scores_as_gold,
    train_reward,
    weights_folder,
    write_contexts,
    write_texts,
)

_file = click.Path(path_type=Path)
_DEFAULT = "all-minilm-l6-v2"


@click.group()
def gpo() -> None:
    """Generative pre-trained optimisation: reward model, then PPO."""


@gpo.group()
def reward() -> None:
    """The reward model: trained on what people clicked."""


@reward.command("train")
@click.option(
    "--data", required=True, type=_file, help="Parquet, CSV or JSONL: test_id, text, impressions, clicks, image_id."
)
@click.option("--out", default=".arauto/gpo/reward", show_default=True, type=_file, help="Folder of the model.")
@click.option(
    "--encoder",
    multiple=True,
    help="`tfidf`, a known name or a folder; repeat to join. Default: the best that can be had.",
)
@click.option(
    "--epochs", default=3, show_default=True, type=click.IntRange(0, 20), help="Of fine-tuning; 0: only the heads."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same data, same seed: same model.")
@as_json
def reward_train(data: Path, out: Path, encoder: tuple[str, ...], epochs: int, seed: int, *, json_: bool) -> None:
    """Train a reward model. Interrupted, the same command goes on where it stopped."""
    table = read_table(data)
    started = time.monotonic()
    with bar("Reward model", quiet=json_) as tell:
        encoders = _encoders(encoder, table)
        tunable = epochs and len(encoders) == 1 and isinstance(encoders[0], SentenceEncoder)
        plan = FineTune(epochs=epochs) if tunable else None
        model = train_reward(table, encoders, seed=seed, work=out / "work", plan=plan, progress=_to(tell))
    model.save(out)
    result = {
        "model": str(out),
        "sha256": model.sha256(),
        "seconds": round(time.monotonic() - started, 1),
        **msgspec.to_builtins(model.card),
    }
    for each in result["encoders"]:
        each.pop("idf", None)
    if json_:
        print_json(result)
    else:
        accuracy = model.card.metrics["held_out_accuracy"]
        console.print(
            f"{out}: {model.card.tests} tests, {model.card.arms} arms; held-out pairwise accuracy {accuracy:.1%}"
        )


@reward.command("evaluate")
@click.option("--data", required=True, type=_file, help="Tests that the model has not seen.")
@click.option("--model", default=".arauto/gpo/reward", show_default=True, type=_file, help="Folder of the model.")
@as_json
def reward_evaluate(data: Path, model: Path, *, json_: bool) -> None:
    """Compare a reward model's scores with what people clicked; say whether the gate is open."""
    loaded = RewardModel.load(model)
    table = read_table(data)
    started = time.monotonic()
    report = evaluate_reward(loaded, table, Gate())
    seconds = time.monotonic() - started
    report = msgspec.structs.replace(report, texts_per_second=round(len(table) / max(seconds, 1e-9), 1))
    if json_:
        print_json(report)
    else:
        _show(report)


@gpo.command("optimise")
@click.option("--data", required=True, type=_file, help="Demonstrations: texts, and what they are about (`context`).")
@click.option("--holdout", type=_file, help="Tests for the gate, not seen by the reward model; else `--data`.")
@click.option(
    "--reward", "reward_", default=".arauto/gpo/reward", show_default=True, type=_file, help="The reward model."
)
@click.option("--gold", type=_file, help="A reward model of other tests: the truth that audits buy in a simulation.")
@click.option("--base", default="tiny", show_default=True, help="`tiny`, a known name, or a folder of a causal model.")
@click.option("--layers", type=click.IntRange(1), help="Keep only so many of the base's lowest layers.")
@click.option("--epochs", default=4, show_default=True, type=click.IntRange(0, 100), help="Over the demonstrations.")
@click.option(
    "--iterations", default=32, show_default=True, type=click.IntRange(1), help="Batches of the optimisation."
)
@click.option("--batch", default=128, show_default=True, type=click.IntRange(8), help="Texts a batch; a multiple of 4.")
@click.option(
    "--parts",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Parts that a batch is written in; side by side on Ray, where `ray_address` is set.",
)
@click.option("--algorithm", default="ppo", show_default=True, type=click.Choice(["ppo", "rloo", "grpo", "dpo"]))
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), help="Default: 0.002 for `tiny`, 0.0002 for others."
)
@click.option("--kl", default=0.02, show_default=True, help="Reward lost per nat of KL, at first; not zero.")
@click.option("--out", default=".arauto/gpo/candidate", show_default=True, type=_file, help="Folder of the candidate.")
@click.option("--register", is_flag=True, help="Put the candidate into the database's registry of models.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same data, same seed: same texts.")
@as_json
def optimise_(
    data: Path, holdout: Path | None, reward_: Path, gold: Path | None, base: str, layers: int | None, epochs: int,
    iterations: int, batch: int, parts: int, algorithm: Algorithm, learning_rate: float | None,
    kl: float, out: Path, seed: int, *,
    register: bool, json_: bool,
) -> None:  # fmt: skip
    """Optimise a generator on the reward model. Interrupted, the same command goes on where it stopped."""
    rate = learning_rate or (2e-3 if base == "tiny" else 2e-4)
    plan = check_plan(
        PPOPlan(algorithm=algorithm, iterations=iterations, batch=batch, parts=parts, learning_rate=rate, kl_start=kl)
    )
    table, model = read_table(data), RewardModel.load(reward_)
    gate = evaluate_reward(model, read_table(holdout) if holdout else table)
    require_passed(gate)
    weights = None if base == "tiny" else weights_folder(base, settings_of().home)
    with bar("Base", quiet=json_) as tell:
        made = make_base(
            table, out / "base", weights=weights, layers=layers, epochs=epochs, seed=seed,
            progress=_to(tell),
        )  # fmt: skip
    with bar("Optimisation", quiet=json_) as tell:
        candidate = optimise(
            table, model, gate, made, out, plan, seed=seed,
            gold=scores_as_gold(RewardModel.load(gold)) if gold else None,
            progress=_to(tell), ray=settings_of().ray_address,
        )  # fmt: skip
    write_contexts(out, contexts_of(table))
    if register:
        last = candidate.readings[candidate.best_iteration]
        metrics = {"reward": last.reward, "kl": last.kl, "rollouts": candidate.rollouts, "simulated": True}
        window = {"data_sha256": candidate.data_sha256, "reward_sha256": candidate.reward_sha256}
        with arauto.open(settings_of()) as app:
            app.register_model(f"gpo-{algorithm}", candidate.sha256, window, metrics)
    if json_:
        print_json(candidate)
        return
    last = candidate.readings[-1]
    console.print(
        f"{out}: {candidate.rollouts} texts written and judged; "
        f"reward {candidate.readings[0].reward:.3f} to {last.reward:.3f}, KL {last.kl:.1f} nats"
    )
    if candidate.verdict:
        verdict = candidate.verdict
        console.print(
            f"Stopped after iteration {verdict.iteration}: {verdict.reason}. "
            f"The policy of iteration {candidate.best_iteration} is kept."
        )


@gpo.command("sample")
@click.option(
    "--model", default=".arauto/gpo/candidate", show_default=True, type=_file, help="Folder of the candidate."
)
@click.option("--n", default=8, show_default=True, type=click.IntRange(1, 100_000), help="How many texts.")
@click.option("--context", help="What to write about; the contexts of the training data when left out.")
@click.option("--base", is_flag=True, help="Write with the base instead, before optimisation.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Same seed: same texts.")
@as_json
def sample(model: Path, n: int, context: str | None, base: bool, seed: int, *, json_: bool) -> None:
    """Write texts with a candidate. No person has seen them; check them before they are shown."""
    contexts = [context] if context is not None else read_contexts(model)
    policy = load_policy(model, contexts)
    numbers = np.random.default_rng([seed, 3]).integers(len(contexts), size=n).tolist()
    ray = settings_of().ray_address
    if base:
        with policy.reference():
            texts = write_texts(policy, numbers, seed=seed, ray=ray)
    else:
        texts = write_texts(policy, numbers, seed=seed, ray=ray)
    whole = [
        {"text": text.removesuffix(CUT), "ended": not text.endswith(CUT), "context": contexts[i]}
        for text, i in zip(texts, numbers, strict=True)
    ]
    if json_:
        print_json({"simulated": True, "texts": whole})
    else:
        for row in whole:
            console.print(row["text"], markup=False)


@gpo.command("evaluate")
@click.option(
    "--model", default=".arauto/gpo/candidate", show_default=True, type=_file, help="Folder of the candidate."
)
@click.option("--gold", required=True, type=_file, help="The reward model that judges; best one that saw other tests.")
@click.option(
    "--choose", type=_file, help="The reward model that picks the base's best of four; `--gold` when left out."
)
@click.option("--n", default=200, show_default=True, type=click.IntRange(8, 10_000), help="Texts of each side.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Same seed: same texts.")
@as_json
def evaluate(model: Path, gold: Path, choose: Path | None, n: int, seed: int, *, json_: bool) -> None:
    """Compare a candidate with its base and with the base's best of four. The lift is simulated."""
    contexts = read_contexts(model)
    policy = load_policy(model, contexts)
    truth = RewardModel.load(gold)
    picks = RewardModel.load(choose) if choose else truth
    found = compare(
        policy, len(contexts), scores_as_gold(truth), name=truth.sha256(), n=n, seed=seed,
        choose=scores_as_gold(picks), ray=settings_of().ray_address,
    )  # fmt: skip
    if json_:
        print_json(found)
        return
    console.print(
        f"Simulated lift over the base: {found.lift:+.1%} ({found.lift_low:+.1%} to {found.lift_high:+.1%}); "
        f"the base's best of {found.best_of_n}: {found.best_of_lift:+.1%}"
    )
    console.print(
        f"Rules broken: {found.violations_base:.1%} before, {found.violations_policy:.1%} after. "
        f"Perplexity under the base: {found.perplexity_base:.0f} and {found.perplexity_policy:.0f}"
    )


@gpo.command("export")
@click.option(
    "--model", default=".arauto/gpo/candidate", show_default=True, type=_file, help="Folder of the candidate."
)
@click.option("--to", required=True, type=_file, help="The GGUF file to write.")
@as_json
def export(model: Path, to: Path, *, json_: bool) -> None:
    """Write a candidate's adapter as llama.cpp reads it, for the GGUF base that it was trained on."""
    export_gguf(load_policy(model, [""]), to)
    if json_:
        print_json({"file": str(to), "bytes": to.stat().st_size})
    else:
        console.print(f"{to}: {to.stat().st_size:,} bytes", markup=False)


def _show(report: GateReport) -> None:
    grid = Grid("part", "pairs", "right", "clear pairs", "right", "calibration error", box=None, pad_edge=False)
    for part in (report.whole, *report.parts):
        right, clear = part.accuracy, part.significant_accuracy
        grid.add_row(
            part.name,
            str(part.pairs),
            f"{right.value:.1%} ({right.low:.1%} to {right.high:.1%})",
            str(part.significant_pairs),
            f"{clear.value:.1%} ({clear.low:.1%} to {clear.high:.1%})",
            f"{part.calibration_error:.3f}",
        )
    console.print(grid)
    console.print("Gate: open" if report.passed else "Gate: shut\n  " + "\n  ".join(report.reasons))


def _to(tell: Callable[[int, int], None]) -> Progress:
    """A bar of the terminal as the progress of a job."""

    def progress(done: int, total: int, note: str) -> None:
        del note
        tell(done, total)

    return progress


def _encoders(names: tuple[str, ...], table: Table) -> list[Encoder]:
    home = settings_of().home
    if not names:
        try:
            return [SentenceEncoder(weights_folder(_DEFAULT, home))]
        except ModelFileError as failure:
            click.echo(f"Sentence encoders cannot be had ({failure}); TF-IDF is used, and is weaker.", err=True)
            return [Tfidf.fit(table.text)]
    return [Tfidf.fit(table.text) if name == "tfidf" else SentenceEncoder(weights_folder(name, home)) for name in names]

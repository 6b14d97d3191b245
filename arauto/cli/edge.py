"""``arauto edge …``: small models for the visitor's browser."""

from __future__ import annotations

import gzip
import signal
import threading
import time
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.table import Table

from arauto.cli.common import as_json, console, print_json
from arauto.core.errors import InputError
from arauto.edge import (
    OWN,
    RESEARCH,
    EdgeModel,
    Evaluation,
    assets,
    evaluate,
    example,
    file_name,
    generate,
    load,
    peers,
    read_examples,
    serving,
    shipped,
    train,
    train_shipped,
    with_metrics,
    write,
)

_FILE = click.Path(path_type=Path, dir_okay=False)
_model = click.option("--model", "path", type=_FILE, help="A model file; the shipped one when left out.")


@click.group()
def edge() -> None:
    """Small models in the visitor's browser: train, evaluate, export, bench, serve."""


def _named(path: Path | None) -> EdgeModel:
    return load(path) if path else shipped()


@edge.command("train")
@click.option(
    "--data",
    type=_FILE,
    help="Parquet, CSV or JSON lines: text, label (−1, 0, 1), corpus. Generated texts when left out.",
)
@click.option("--out", type=_FILE, default=Path("edge.bin"), show_default=True, help="Where the model goes.")
@click.option("--name", default="sentiment", show_default=True, help="The model's name.")
@click.option("--version", default="1.0.0", show_default=True, help="The model's version.")
@click.option("--language", "languages", multiple=True, default=("pt-BR",), show_default=True, help="Its languages.")
@click.option("--large", is_flag=True, help="As accurate as it gets (under 1 MB), for a server or a measurement.")
@click.option("--steps", type=click.IntRange(1, 2000), help="Passes over the texts.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Which texts are held out.")
@click.option(
    "--holdout", default=0.2, show_default=True, type=click.FloatRange(0, 0.9), help="The share that only measures."
)
@as_json
def train_(
    data: Path | None,
    out: Path,
    name: str,
    version: str,
    languages: tuple[str, ...],
    large: bool,
    steps: int | None,
    seed: int,
    holdout: float,
    json_: bool,
) -> None:
    """Train a classifier and measure it on texts held out; write the model, its release and golden vectors."""
    if data is None:
        model = train_shipped().model
        measured = evaluate(model, list(generate(2000, seed + 1_000_003)))
    else:
        examples = read_examples(data)
        held = np.random.default_rng(seed).random(len(examples)) < holdout
        plan = RESEARCH if large else OWN
        plan = msgspec.structs.replace(plan, seed=seed, steps=steps or plan.steps)
        known = [one for one, out_of in zip(examples, held, strict=True) if not out_of]
        told = f"{len(known)} of {len(examples)} labelled texts of {data.name}"
        model = train(known, plan, name=name, version=version, languages=languages, data=told).model
        measured = evaluate(model, [one for one, out_of in zip(examples, held, strict=True) if out_of] or known)
    overall = measured.overall
    figures = {
        "accuracy": overall.accuracy,
        "macro_f1": overall.macro_f1,
        "ece": overall.ece,
        "texts": float(overall.n),
    }
    release = write(with_metrics(model, figures), out)
    if json_:
        print_json({"release": release, "held_out": measured})
        return
    _show(measured)
    console.print(f"Written: {out} ({release.bytes:,} bytes), with {out.with_suffix('.json').name} and golden vectors")


@edge.command("evaluate")
@click.option("--data", type=_FILE, required=True, help="Parquet, CSV or JSON lines: text, label, corpus.")
@_model
@as_json
def evaluate_(data: Path, path: Path | None, *, json_: bool) -> None:
    """Print accuracy, macro-F1 and calibration by corpus."""
    measured = evaluate(_named(path), read_examples(data))
    if json_:
        print_json(measured)
    else:
        _show(measured)


def _show(measured: Evaluation) -> None:
    table = Table("corpus", "texts", "accuracy", "macro-F1", "ECE", "answered", box=None, pad_edge=False)
    for corpus, one in [*measured.corpora.items(), ("all texts", measured.overall)]:
        table.add_row(
            corpus, f"{one.n}", f"{one.accuracy:.3f}", f"{one.macro_f1:.3f}", f"{one.ece:.3f}", f"{one.answered:.0%}"
        )
    console.print(f"[bold]{measured.model}[/]")
    console.print(table)
    console.print(f"mean macro-F1 over the corpora: {measured.mean_macro_f1:.3f}")


@edge.command()
@_model
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder for the files.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(("web", "onnx", "tfjs")),
    default="web",
    show_default=True,
    help="web: our modules. onnx, tfjs: the same weights for onnxruntime or TensorFlow.js, with an adapter.",
)
@as_json
def export(path: Path | None, out: Path, format_: str, *, json_: bool) -> None:
    """Write what a page needs into a folder: the two modules, and the model under its hash."""
    model = _named(path)
    out.mkdir(parents=True, exist_ok=True)
    if format_ != "web":
        others = peers(model, format_)
        for name, body in others.items():
            (out / name).write_bytes(body)
        if json_:
            print_json({"files": sorted(others)})
        else:
            console.print(f"{len(others)} files in {out}: {', '.join(others)}", soft_wrap=True)
        return
    files = assets(model)
    for name, asset in files.items():
        (out / name).write_bytes(asset.body)
    tag = f'<script type="module" src="arauto-edge.js" data-model="{file_name(model)}"></script>'
    if json_:
        print_json({"files": sorted(files), "script": tag})
    else:
        console.print(f"{len(files)} files in {out}. In the page:\n{tag}", markup=False, soft_wrap=True)


@edge.command()
@_model
@click.option("--texts", default=1000, show_default=True, type=click.IntRange(10, 100_000), help="Texts to predict.")
@as_json
def bench(path: Path | None, texts: int, *, json_: bool) -> None:
    """Measure a model here: download size, and the time of a prediction in Python. Browsers: `python -m bench edge`."""
    model = _named(path)
    took = []
    for one in generate(texts, 5):
        began = time.perf_counter()
        model.predict(one.text)
        took.append((time.perf_counter() - began) * 1000)
    sizes = {name: len(gzip.compress(asset.body, 9)) for name, asset in assets(model).items()}
    found = {
        "download_gzipped": sum(sizes.values()),
        "files_gzipped": sizes,
        "python_ms_p50": round(float(np.quantile(took, 0.5)), 3),
        "python_ms_p99": round(float(np.quantile(took, 0.99)), 3),
    }
    if json_:
        print_json(found)
    else:
        console.print(
            f"download {found['download_gzipped']:,} bytes gzipped; in Python p50 {found['python_ms_p50']} ms, "
            f"p99 {found['python_ms_p99']} ms a prediction"
        )


@edge.command()
@_model
@click.option("--port", default=8710, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--seconds", type=click.FloatRange(0), help="End by itself after that long.")
def serve(path: Path | None, port: int, seconds: float | None) -> None:
    """Show the example page on localhost: type a message, the welcome changes, the network stays silent."""
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    try:
        with serving(example(_named(path)), port) as address:
            console.print(f"The example page: {address}  (Ctrl+C ends it)")
            stop.wait(seconds)
    except OSError as failure:
        raise InputError(f"cannot be used: {failure.strerror}", field="port", mend="choose another --port") from None

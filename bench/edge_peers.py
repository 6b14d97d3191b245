"""The same weights in TensorFlow.js (slim) and onnxruntime-web, in the same Chromium, by the same golden vectors.

Needs ``ARAUTO_EDGE_PEERS``: a folder in which ``npm install onnxruntime-web @tensorflow/tfjs-core
@tensorflow/tfjs-backend-cpu @tensorflow/tfjs-converter esbuild`` was run. Without it the run says so.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from playwright.async_api import Browser, async_playwright

from arauto.edge import Asset, assets, file_name, peers, serving, shipped
from arauto.edge.recipe import golden
from tools.browser import ARGUMENTS, find_browser

_KERNELS = (
    *("Add", "Cast", "GatherV2", "Maximum", "RealDiv", "Reshape", "Softmax", "Sqrt", "Sum"),
    *("_FusedMatMul", "BatchMatMul", "Exp", "Max", "Sub", "Identity"),
)
_SLIM = """
export * as tf from '@tensorflow/tfjs-core';
export {loadGraphModel} from '@tensorflow/tfjs-converter';
import {registerKernel} from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu/dist/base';
"""
_SCRIPT, _BIN = "text/javascript; charset=utf-8", "application/octet-stream"
# onnxruntime compiles WebAssembly, for which the policy has to be loosened.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; connect-src 'self' data:"
)
_PAGE = b"<!doctype html><title>peers</title><p>Peers"
_RUN = """async ([make, texts, golden]) => {
  const began = performance.now();
  const own = await (await import('/' + make)).make();
  await own.predict(golden[0].text);
  const cold = performance.now() - began;
  let labels = 0, most = 0;
  for (const {text, label, shares, n} of golden) {
    const said = await own.predict(text);
    labels += said.label !== label;
    if (n) most = Math.max(most, ...shares.map((share, i) => Math.abs(share - said.shares[i])));
  }
  const took = [];
  for (const text of texts) {
    const t = performance.now();
    await own.predict(text);
    took.push(performance.now() - t);
  }
  return {cold, labels, most, took};
}"""
_MAKERS = {
    "own": """import {open} from './arauto-edge-core.js';
export const make = async () => open(await (await fetch('MODEL')).arrayBuffer());""",
    "tfjs": """export const make = async () => {
  const {withTf} = await import('./arauto-edge-peers.js');
  const {tf, loadGraphModel} = await import('./tf.js');
  await tf.setBackend('cpu');
  return withTf(tf, loadGraphModel, './model.json');
};""",
    "onnx": """export const make = async () => {
  const {withOrt} = await import('./arauto-edge-peers.js');
  const ort = await import('./ort.wasm.bundle.min.mjs');
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = location.origin + '/';
  return withOrt(ort, './model.onnx', await (await fetch('./manifest.json')).json());
};""",
}


def main() -> dict[str, Any]:
    """Measure in a Chromium of our own."""
    from bench.edge import texts

    async def run() -> dict[str, Any]:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=str(find_browser()), args=list(ARGUMENTS))
            found = await against_peers(browser, [one.text for one in texts()][::20])
            await browser.close()
        return found

    found = asyncio.run(run())
    promises = {
        f"{name}: every label of the golden vectors": found.get(name, {}).get("labels_different") == 0
        for name in ("own", "onnx", "tfjs")
    } | {"onnx: every integer": found.get("onnx", {}).get("largest_share_gap") == 0}
    return {"passed": all(promises.values()), "promises": promises, **found}


async def against_peers(browser: Browser, texts: list[str]) -> dict[str, Any]:
    """Ours, TensorFlow.js and onnxruntime-web: bytes, cold start, times, and what differs on the golden vectors."""
    folder = os.environ.get("ARAUTO_EDGE_PEERS")
    if not folder:
        return {"missing": "ARAUTO_EDGE_PEERS is not set; see bench/edge_peers.py"}
    files, bytes_of = await asyncio.to_thread(_files, Path(folder) / "node_modules")
    vectors = msgspec.to_builtins(golden(shipped()))
    found: dict[str, Any] = {}
    with serving(files, policy=_POLICY) as url:
        for name in _MAKERS:
            found[name] = {"gzipped": bytes_of[name]}
            for rate in (1, 4):
                context = await browser.new_context()
                page = await context.new_page()
                await page.goto(url)
                session = await context.new_cdp_session(page)
                await session.send("Emulation.setCPUThrottlingRate", {"rate": rate})
                said = await page.evaluate(_RUN, [f"{name}-make.js", texts, vectors])
                await context.close()
                found[name] |= {"labels_different": said["labels"], "largest_share_gap": round(said["most"] / 65536, 6)}
                found[name][f"{rate}x"] = {
                    "cold_ms": round(said["cold"], 1),
                    **{f"p{q}": round(float(np.percentile(said["took"], q)), 3) for q in (50, 99)},
                }
    return found


def _files(modules: Path) -> tuple[dict[str, Asset], dict[str, int]]:
    model = shipped()
    files = {"": Asset(_PAGE, "text/html; charset=utf-8"), **assets()}
    for kind in ("onnx", "tfjs"):
        for name, body in peers(model, kind).items():
            files[name] = Asset(body, _SCRIPT if name.endswith(".js") else _BIN)
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        kind = "application/wasm" if name.endswith("wasm") else _SCRIPT
        files[name] = Asset((modules / "onnxruntime-web" / "dist" / name).read_bytes(), kind)
    files["tf.js"] = Asset(_slim(modules), _SCRIPT)
    for name, source in _MAKERS.items():
        files[f"{name}-make.js"] = Asset(source.replace("MODEL", file_name(model)).encode(), _SCRIPT)
    sizes = {name: len(gzip.compress(asset.body, 9)) for name, asset in files.items()}
    core = sizes["arauto-edge-core.js"]
    adapter = core + sizes["arauto-edge-peers.js"] + sizes["manifest.json"]
    return files, {
        "own": core + sizes[file_name(model)],
        "tfjs": adapter + sizes["tf.js"] + sizes["model.json"] + sizes["weights.bin"],
        "onnx": adapter + sizes["ort.wasm.bundle.min.mjs"] + sizes["ort-wasm-simd-threaded.wasm"] + sizes["model.onnx"],
    }


def _config(kernel: str) -> str:
    at = 1 if kernel.startswith("_") else 0
    return kernel[:at] + kernel[at].lower() + kernel[at + 1 :] + "Config"


def _slim(modules: Path) -> bytes:
    """TensorFlow.js with the kernels that the graph uses and no others, bundled by esbuild."""
    import subprocess

    kernels = modules / "@tensorflow" / "tfjs-backend-cpu" / "dist" / "kernels"
    lines = [
        f"import {{{_config(name)} as k{place}}} from '@tensorflow/tfjs-backend-cpu/dist/kernels/{name}';\n"
        f"registerKernel(k{place});"
        for place, name in enumerate(_KERNELS)
        if (kernels / f"{name}.js").exists()
    ]
    with tempfile.TemporaryDirectory(dir=modules.parent) as folder:
        entry, out = Path(folder) / "entry.js", Path(folder) / "out.js"
        entry.write_text(_SLIM + "\n".join(lines), "utf-8")
        command = [modules / ".bin" / "esbuild", entry, "--bundle", "--minify", "--format=esm", f"--outfile={out}"]
        subprocess.run([*map(str, command), "--log-level=error", "--platform=browser"], check=True)
        return out.read_bytes()

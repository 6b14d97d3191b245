"""Without the extras, everything else works, and what needs one says how to get it."""

import subprocess
import sys

WITHOUT = "import sys; sys.modules.update(dict.fromkeys({missing!r})); from arauto.cli import main; main({words!r})"
HEAVY = [
    "PIL",
    "skia",
    "typst",
    "imageio_ffmpeg",
    "torch",
    "transformers",
    "polars",
    "c2pa",
    "safetensors",
    "xllamacpp",
    "scipy",
    "faiss",
    "cryptography",
]


def run(*words):
    code = WITHOUT.format(missing=HEAVY, words=list(words))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_terminal_opens_without_any_extra():
    done = run("--help")
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_a_kit_without_its_extra_says_the_mend():
    done = run("kit", "create", "brief.yaml", "--out", "x")
    assert done.returncode == 2
    assert "pip install 'arauto[kit]'" in done.stderr


def test_the_terminal_answers_before_anything_heavy_is_imported():
    code = "import sys; from arauto.cli import main; print(sorted({'numpy', 'psycopg', 'httpx'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_face_is_whole():
    code = "import arauto; print([name for name in arauto.__all__ if not hasattr(arauto, name)], hasattr(arauto, 'x'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"

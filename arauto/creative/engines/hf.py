"""Text of a transformers model by name or folder, with weights that are already on this machine (extra ``train``)."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

from arauto.core.errors import EngineError
from arauto.creative.prompts import MAX_TOKENS, make_prompt, read_answer
from arauto.creative.types import Ask, Draft

TEMPERATURE = 0.9


class TransformersEngine:
    """A chat model, loaded at the first draft; ``threads`` of the CPU, or the GPU when torch sees one.

    Nothing is downloaded and no code of the model's repository is run; weights are safetensors.
    """

    name = "hf"

    def __init__(self, model: str, *, threads: int = 1) -> None:
        if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
            raise EngineError(
                "the library `transformers` is not installed", field="text_engine", mend="pip install 'arauto[train]'"
            )
        self.model, self._threads = model, threads
        self._loaded: Any = None
        self._turn = asyncio.Lock()

    async def write(self, ask: Ask) -> Draft:
        prompt = make_prompt(ask)
        async with self._turn:
            text = await asyncio.to_thread(self._answer, list(prompt.messages), ask.sampling_seed)
        return Draft(copy=read_answer(text, ask.message), prompt_sha256=prompt.sha256)

    async def close(self) -> None:
        self._loaded = None

    def _answer(self, messages: list[dict[str, str]], seed: int) -> str:
        import torch

        if self._loaded is None:
            self._loaded = self._load()
        tokenizer, model = self._loaded
        asked = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(model.device)
        # The seed is the process's: other draws are put back as they were.
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            said = model.generate(**asked, do_sample=True, temperature=TEMPERATURE, max_new_tokens=MAX_TOKENS * 2)
        return str(tokenizer.decode(said[0, asked["input_ids"].shape[1] :], skip_special_tokens=True))

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(self._threads)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, local_files_only=True)
            model: Any = AutoModelForCausalLM.from_pretrained(self.model, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError):
            raise EngineError(
                f"{self.model!r} cannot be loaded", field="hf_model", mend="give the folder of a transformers model"
            ) from None
        if not tokenizer.chat_template:
            raise EngineError(f"{self.model!r} is no chat model", field="hf_model", mend="give an instruct model")
        return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

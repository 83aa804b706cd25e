"""The rollout engine `vllm`: a vLLM server samples, and is given the weights anew after every batch step.

A completion is one request, with a seed derived from its stream. vLLM reports log-probs either before temperature and
truncation or after both, one kind for all requests; ratios need those between. So both kinds serve where they are the
same: without truncation those after, at temperature 1 those before.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sapo_train.engine import Decoding, Sampled, Stream, end_tokens
from sapo_train.errors import EngineError
from sapo_train.local_engine import truncate
from sapo_train.lora import merged
from sapo_train.models import quiet
from sapo_train.policy import Policy
from sapo_train.vllm_server import VllmServer

NAME = "policy"
AT_ONCE = 256  # requests in flight; vLLM makes its own batches of them


class VllmEngine:
    """Samples in a server of its own."""

    def __init__(self, policy: Policy, python: str, arguments: Sequence[str], decoding: Decoding, log: Path) -> None:
        """Start the server and give it the policy's weights.

        Args:
            policy: what is to be sampled from.
            python: interpreter of the environment that has vLLM.
            arguments: further ones of its server.
            decoding: that of training, whose log-probs are reported.
            log: where the server's output goes.

        Raises:
            EngineError: vLLM cannot be started, or does not take weights.
        """
        self.policy, self.decoding, self.truncates = policy, decoding, decoding.top_k > 0 or decoding.top_p < 1
        self.version = 0
        self.scratch = tempfile.TemporaryDirectory(prefix="sapo-vllm-")
        kind = "raw_logprobs" if self.truncates else "processed_logprobs"
        # It starts with other weights, so that one that it does not take over shows when it first samples.
        folder = self._write(policy, scrambled=True)
        options = [
            f"--model={folder}",
            f"--served-model-name={NAME}",
            f"--dtype={str(policy.compute).removeprefix('torch.')}",
            "--generation-config=vllm",  # the model's own has no say
            f"--logprobs-mode={kind}",
            f"--max-logprobs={max(1, decoding.top_k)}",
        ]
        try:
            self.server = VllmServer(python, [*options, *arguments], log)
        except BaseException:
            self.scratch.cleanup()
            raise
        try:
            self.update_weights(policy)
        except BaseException:
            self.close()
            raise

    def stream(
        self,
        prompts: Sequence[Tensor],
        *,
        samples: int,
        decoding: Decoding,
        streams: Sequence[Stream],
        together: int,
    ) -> Iterator[tuple[int, list[Sampled]]]:
        """As `generate`, for so many prompts at a time as have `together` completions."""
        room = max(1, together // samples)
        for start in range(0, len(prompts), room):
            part = prompts[start : start + room]
            mine = streams[start * samples : (start + len(part)) * samples]
            drawn = self.generate(part, samples=samples, decoding=decoding, streams=mine)
            for k in range(len(part)):
                yield start + k, drawn[k * samples : (k + 1) * samples]

    def update_weights(self, policy: Policy) -> None:
        """Have the server read the weights from a folder, and forget what it computed with the ones before.

        Raises:
            EngineError: the server refuses or is gone.
        """
        folder = self._write(policy)
        self.server.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})
        forgot = self.server.post("/reset_prefix_cache", {})
        if not (isinstance(forgot, dict) and forgot.get("success")):
            raise EngineError(f"vLLM keeps keys and values of earlier weights: /reset_prefix_cache answers {forgot!r}.")
        shutil.rmtree(folder)
        self.policy = policy

    def close(self) -> None:
        """End the server."""
        self.server.close()
        self.scratch.cleanup()

    def generate(
        self, prompts: Sequence[Tensor], *, samples: int, decoding: Decoding, streams: Sequence[Stream]
    ) -> list[Sampled]:
        """Continue each prompt `samples` times.

        Args and order as those of the local engine. Log-probs are of the decoding that the engine was made for; those
        of another one (evaluation) are NaN.

        Raises:
            ConfigError: a stop token that the model does not have.
            EngineError: the server is gone, or what it answers is no completion of the prompt.
        """
        ends = end_tokens(self.policy, decoding)
        asked = [prompt.tolist() for prompt in prompts for _ in range(samples)]
        with ThreadPoolExecutor(min(len(asked), AT_ONCE)) as threads:
            return list(threads.map(lambda p, s: self._sampled(p, s, decoding, ends), asked, streams))

    def _sampled(self, prompt: list[int], stream: Stream, decoding: Decoding, ends: list[int]) -> Sampled:
        choice = self._ask(
            prompt,
            seed=int(np.random.SeedSequence(stream).generate_state(1, np.uint64)[0] >> 1),
            max_tokens=decoding.max_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            top_k=decoding.top_k,
            stop=list(decoding.stop),
            include_stop_str_in_output=True,
            stop_token_ids=ends,
            ignore_eos=True,  # it would end at one end token; all of them are named
            logprobs=decoding.top_k,
            return_tokens_as_token_ids=True,
        )
        try:
            tokens, log_probs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
            reason = choice["finish_reason"]
            good = (
                choice["prompt_token_ids"] == prompt
                and reason in ("stop", "length")
                and 1 <= len(tokens) == len(log_probs) <= decoding.max_tokens
                and all(0 <= token < self.policy.vocabulary for token in tokens)
                and all(value <= 1e-4 for value in log_probs)  # NaN is not
                and (reason == "stop" or len(tokens) == decoding.max_tokens)
            )
        except (KeyError, TypeError):
            tokens, log_probs, reason, good = [], [], "", False
        if not good:
            raise EngineError(f"vLLM answers what is no completion of the prompt it was given: {str(choice)[:200]}.")
        row, before = torch.tensor(tokens), torch.tensor(log_probs)
        if distribution(decoding) != distribution(self.decoding):
            before = torch.full_like(before, torch.nan)
        after = before
        if self.truncates and decoding.top_k:
            after = before - kept_mass(choice["logprobs"]["top_logprobs"], decoding)
        return Sampled(row, before, after, self.policy.text(row), reason == "stop")

    def _ask(self, prompt: list[int], **request: Any) -> dict[str, Any]:
        body = {"model": NAME, "prompt": prompt, "return_token_ids": True, **request}
        answer = self.server.post("/v1/completions", body)
        try:
            return answer["choices"][0]
        except (KeyError, TypeError, IndexError):
            raise EngineError(f"vLLM answers no completion: {str(answer)[:200]}.") from None

    def _write(self, policy: Policy, scrambled: bool = False) -> Path:
        """Write a plain transformers folder of the policy's weights, adapters merged, no weight standing for two.

        vLLM keeps packed copies of weights; of one that stands for two it would renew one copy alone.
        """
        folder = Path(self.scratch.name) / f"weights-{self.version}"
        self.version += 1
        # A copy, because merging an adapter and taking it out again rounds.
        model = merged(copy.deepcopy(policy.adapter)) if policy.adapter else policy.model
        seen: set[int] = set()
        state = {}
        for name, tensor in model.state_dict().items():
            tensor = tensor.detach().to(policy.compute)
            tensor = tensor.roll(1, 0) if scrambled else tensor
            state[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
            seen.add(tensor.data_ptr())
        config = copy.deepcopy(model.config)
        config.tie_word_embeddings = False
        with quiet():
            model.save_pretrained(folder, state_dict=state)
            config.save_pretrained(folder)
            policy.tokenizer.save_pretrained(folder)
        return folder


def distribution(decoding: Decoding) -> tuple[float, float, int]:
    """What of a decoding says which distribution tokens are drawn from."""
    return decoding.temperature, decoding.top_p, decoding.top_k


def kept_mass(likeliest: Sequence[dict[str, float]], decoding: Decoding) -> Tensor:
    """Log of the probability that top-k and top-p leave at each token [T], by the log-probs of its likeliest tokens."""
    ranked = torch.tensor([sorted(top.values(), reverse=True)[: decoding.top_k] for top in likeliest])
    cut = truncate(ranked, decoding.top_k, decoding.top_p) == -torch.inf
    return ranked.masked_fill(cut, -torch.inf).logsumexp(-1)

"""A vLLM server that lives as long as the run: started on the loopback, asked over HTTP, ended with all its processes.

vLLM wants other versions of torch and transformers than the trainer, so it is installed in an environment of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sapo_train.errors import EngineError

STARTING = 1800.0  # seconds in which a large model is surely read
SILENCE = 3600.0  # seconds without a byte after which a server that still runs is given up
ENDING = 20.0  # seconds from SIGTERM to SIGKILL

# The server gets SIGTERM when the trainer ends, however that ends. Linux alone can do that.
BOUND = (
    "import ctypes, os, signal, sys\n"
    "getattr(ctypes.CDLL(None), 'prctl', lambda *_: 0)(1, signal.SIGTERM)\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'vllm.entrypoints.openai.api_server', *sys.argv[1:]])\n"
)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before the loopback


class VllmServer:
    """A server process, and how to ask it."""

    def __init__(self, python: str, arguments: Sequence[str], log: Path) -> None:
        """Start the server and wait until it answers.

        Args:
            python: interpreter of the environment that has vLLM.
            arguments: of vLLM's server.
            log: where its output goes.

        Raises:
            EngineError: it cannot be started, or ended at once.
        """
        self.log = log
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = [python, "-c", BOUND, "--host=127.0.0.1", f"--port={port}", *arguments]
        # The development endpoints are those that reload weights. A PYTHONPATH would be for the trainer's environment.
        environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1"}
        environment.pop("PYTHONPATH", None)
        try:
            with log.open("ab") as output:
                self.process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own, to be ended as a whole
                )
        except OSError as error:
            raise EngineError(
                f"cannot start vLLM with engine.python={python!r} ({error}); give the interpreter of an environment "
                "that has vLLM."
            ) from None
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send JSON and return the JSON that comes back.

        Raises:
            EngineError: the server refuses, is gone, or does not speak JSON.
        """
        request = urllib.request.Request(
            self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with DIRECT.open(request, timeout=SILENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            says = " ".join(error.read().decode(errors="replace").split())
            raise self._failed(f"answers {path} with status {error.code} ({says[:200]})") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failed(f"does not answer {path} ({error})") from None

    def close(self) -> None:
        """End the server and what it started."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(ENDING)
        self._signal(signal.SIGKILL)  # whoever of its processes is still there
        self.process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self._failed("did not start")
            try:
                with DIRECT.open(f"{self.address}/health", timeout=10):
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
        raise self._failed(f"did not start within {STARTING:g} s")

    def _failed(self, what: str) -> EngineError:
        try:
            state = f"it ended with exit code {self.process.wait(2.0)}"  # whose connections are gone is about to end
        except subprocess.TimeoutExpired:
            state = "it still runs"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if "Error:" in line] or lines[-1:] or ["nothing"]
        return EngineError(
            f"vLLM {what}; {state} and said: {errors[-1].strip()[-200:]!r}. All it said is in {self.log}."
        )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

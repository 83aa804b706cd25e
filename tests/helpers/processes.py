"""`sapo-train` in processes of its own that begin in milliseconds: a fork server has loaded torch once.

They are real processes, to be killed, stopped and joined into a world; nothing of the tests' process is in them.
"""

import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Both are read when the fork server starts: threads that wait without spinning, and where `warmed` is. An empty path
# would be the folder that later tests' programs are called from, before the standard library.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["warmed"])


class Run:
    """One process that runs a command line, and the file its output goes to.

    Args:
        words: the command line.
        output: where stdout and stderr go.
        kill_at: a signal at this file operation, from 1, of those whose path contains `within`.
        within: part of a path.
        by: the signal.
        file_limit: bytes of the longest file that the kernel lets it write.
        environment: variables to set.
    """

    def __init__(
        self,
        words: Sequence[str],
        output: Path,
        *,
        kill_at: int | None = None,
        within: str = "",
        by: signal.Signals = signal.SIGKILL,
        file_limit: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.output = output
        what = (list(words), str(output), kill_at, within, by, file_limit, dict(environment or {}))
        self.process = SERVER.Process(target=_main, args=what)
        self.process.start()

    def wait_for(self, condition: Callable[[], bool], limit: float = 120) -> None:
        """Wait until something holds while the process lives."""
        deadline = time.monotonic() + limit
        while not condition():
            assert self.process.is_alive(), self.output.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def wait_until_stopped(self) -> None:
        """Wait until SIGSTOP has stopped the process."""
        state = Path(f"/proc/{self.process.pid}/stat")
        self.wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self, limit: float = 120) -> tuple[int, str]:
        """Wait for the end: exit code (minus the signal, if one ended it) and output."""
        self.process.join(limit)
        assert self.process.exitcode is not None, "still running"
        return self.process.exitcode, self.output.read_text()


def world(words: Sequence[str], folder: Path, size: int = 2) -> list[Run]:
    """Start the processes of a world, as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    places = [common | {"RANK": str(rank)} for rank in range(size)]
    return [Run(words, folder / f"output-{place['RANK']}", environment=place) for place in places]


def operations(output: Path) -> list[str]:
    """Return the paths of the file operations of a run that has ended, in their order."""
    return output.with_name(f"{output.name}.operations").read_text().splitlines()


def _main(
    words: list[str],
    output: str,
    kill_at: int | None,
    within: str,
    by: signal.Signals,
    file_limit: int | None,
    environment: dict[str, str],
) -> None:
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs begin without
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    seen: list[str] = []
    root = str(Path(output).parent)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES and arguments and str(arguments[0]).startswith(root) and within in str(arguments[0]):
            if event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR):
                seen.append(f"{event} {arguments[0]}")
            if len(seen) == kill_at:
                os.kill(os.getpid(), by)

    sys.addaudithook(count)
    from sapo_train.cli import main

    code = main(words)
    Path(f"{output}.operations").write_text("\n".join(seen))
    sys.exit(code)

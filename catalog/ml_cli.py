"""Run `python -m ml` in a child process, and the environment variables that child processes may see.

The catalogue never imports the networks of `ml`: it runs the command line and reads the output.
"""

import contextlib
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from django.conf import settings

BAD_INPUT: Final = 2
"""The exit code of `ml` for bad input, which it reports in one line on standard error."""
ERROR_PREFIX: Final = "python -m ml: "
"""How that line begins."""

# An allow-list, so that a secret which a later version or a deployment adds to the environment stays out as well.
BASE_VARIABLES: Final = frozenset(("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH"))
# Read by torch, torchrun and the experiment trackers as well. A proxy's address may hold its password: without it
# a tracker cannot reach its server.
TRAINING_VARIABLES: Final = BASE_VARIABLES | {
    *("HOME", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TZ"),
}
TRAINING_PREFIXES: Final = (
    *("OMP_", "MKL_", "KMP_", "OPENBLAS_", "MALLOC_", "CUDA_", "CUBLAS_", "NCCL_", "GLOO_", "NVIDIA_"),
    *("MASTER_", "TORCH_", "TORCHELASTIC_", "TORCHINDUCTOR_", "PYTORCH_", "WANDB_"),
)


class MlTimeout(Exception):
    """The command did not end in time and was killed."""

    code = "took_too_long"


@dataclass(frozen=True)
class MlResult:
    """Exit code (negative: the signal that killed the process) and the complete output of a command."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def error_line(self) -> str:
        """The line with which `ml` refuses bad input: the last line of standard error."""
        return self.stderr.strip().rpartition("\n")[2].removeprefix(ERROR_PREFIX)


def base_environment() -> dict[str, str]:
    """The part of this process's environment that any child process may see, without the site's secrets."""
    return {name: value for name, value in os.environ.items() if name in BASE_VARIABLES}


def training_environment() -> dict[str, str]:
    """The part of this process's environment for training and evaluation, without the site's secrets.

    The credentials of the experiment tracker (`WANDB_*`) and the proxies are passed on.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name in TRAINING_VARIABLES or name.startswith(TRAINING_PREFIXES)
    }


def run_ml(*arguments: str, seconds: float, memory: int | None = None) -> MlResult:
    """Run `python -m ml ARGUMENTS` to its end. `memory`: limit of its address space in bytes. Raises `MlTimeout`."""
    with subprocess.Popen(  # noqa: S603 - our own program, and no shell
        [sys.executable, "-m", "ml", *arguments],
        cwd=settings.BASE_DIR,
        env=base_environment() | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        if memory is not None:
            with contextlib.suppress(
                OSError, ValueError, AttributeError
            ):  # a lower limit is set already, or limits are not supported
                resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise MlTimeout from None
    return MlResult(process.returncode, stdout, stderr)

"""Type-check the packages that the given files belong to: `python -m tests.helpers.changed_packages FILE…`."""

import subprocess
import sys
from pathlib import Path


def main(files: list[str]) -> int:
    packages = sorted({Path(file).parts[0] for file in files})
    options = [option for package in packages for option in ("--package", package)]
    return subprocess.run([sys.executable, "-m", "mypy", *options], check=False).returncode if options else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

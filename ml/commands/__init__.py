"""The commands of `python -m ml`, one file each: `HELP`, `add_arguments`, `run` (returns the last line)."""

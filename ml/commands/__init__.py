"""The commands of `python -m ml`, one module each: `HELP`, `add_arguments`, and `run`, which returns the last line."""

"""Benchmarks: `python -m benchmarks` runs them all and writes RESULTS.md beside this file."""

import os

for library in ("OPENBLAS", "OMP", "MKL"):  # before numpy: its idle threads would run on, and be counted with ours
    os.environ[f"{library}_NUM_THREADS"] = "1"

"""Rule DET-1, tested as a matrix: every scenario in every column gives one digest. `python -m tests.determinism`."""

from tests.determinism.play import is_repeated, repeat_differences

__all__ = ["is_repeated", "repeat_differences"]

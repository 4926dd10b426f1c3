"""The README's Python example prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_python_example_prints_what_is_shown():
    code, shown = re.search(r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", README, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})  # our own file
    assert printed.getvalue() == shown


def test_every_check_named_as_a_guarantee_exists():
    named = re.findall(r"`pytest (tests/\S+)`", README)
    assert len(named) >= 6 and all((Path(__file__).parents[1] / name).exists() for name in named)

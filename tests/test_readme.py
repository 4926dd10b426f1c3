"""Every block of the README is run, and what it shows is what comes out. Those that install are run by `.ci/run`."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
RUN = [k for k, (language, text) in enumerate(BLOCKS) if language == "python" or text.startswith("deleverage ")]
SECONDS = re.compile(r"(?<= events in )[\d.]+(?= s$)", re.MULTILINE)


def lines(text):
    """Lines without trailing blanks and without how long it took."""
    return [line.rstrip() for line in SECONDS.sub("…", text).strip().splitlines()]


def missing(shown, printed):
    """The first run of shown lines that was not printed after those before it; a line `…` stands for any lines."""
    at, asked, found = 0, "\n".join(lines(shown)), "\n".join([*lines(printed), ""])
    for part in re.split(r"^\s*…$\n?", asked, flags=re.MULTILINE):
        place = found.find(part, at)
        if place < 0:
            return part
        at = place + len(part)
    return ""


def play(language, text, folder, data):
    """What a block prints: Python in a process of its own, commands in a folder that holds the captures."""
    if language == "python":
        arguments = ["-c", text]
    else:
        (command,) = text.replace("\\\n", "").strip().splitlines()
        for path in (*data.glob("binance_*/*.gz"), *data.glob("binance_*/*.zip")):
            (folder / path.name).symlink_to(path)
        arguments = ["-m", "replay", *shlex.split(command)[1:]]
    finished = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
                              env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1"})
    assert finished.returncode == 0, finished.stderr[-2_000:]
    return finished.stdout


@pytest.mark.parametrize("k", RUN, ids=lambda k: " ".join(BLOCKS[k][1].split()[:2]))
def test_a_block_prints_what_is_shown_after_it(k, tmp_path, shared_data):
    language, shown = BLOCKS[k + 1]
    assert language == "text", "every block that is run is followed by what it prints"
    assert not missing(shown, play(*BLOCKS[k], tmp_path, shared_data))


def test_no_block_is_left_out():
    """What neither runs above nor in `.ci/run` is what a block prints, or the picture of the event flow."""
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    installing = [text.strip() for language, text in BLOCKS if not language and text.startswith("pip install ")]
    assert len(installing) == 2 and "grep '^pip install .* && '" in run
    others = [text for k, (language, text) in enumerate(BLOCKS)
              if k not in RUN and k - 1 not in RUN and text.strip() not in installing]
    assert len(others) == 1 and "loop.py" in others[0]


def test_the_picture_of_the_event_flow_names_what_exists():
    (picture,) = [text for language, text in BLOCKS if language == "text" and "loop.py" in text]
    named = re.findall(r"[a-z_]+(?:/[a-z_]+)*\.py\b|[a-z_]+(?:/[a-z_]+)+", picture)
    assert len(named) >= 6
    for name in named:
        assert any((ROOT / folder / name).exists() for folder in ("", "exchange", "exchange/core", "replay")), name


def test_a_missing_line_is_found_and_an_ellipsis_skips_lines():
    printed = "a\nb  \n3 events in 1.2 s\nc\n"
    assert not missing("a\n…\nc\n", printed) and not missing("b\n3 events in 9.9 s\n", printed)
    assert missing("a\nc\n", printed) == "a\nc" and missing("c\n…\na\n", printed) == "a"
    assert missing("4 events in 1.2 s\n", printed)


def test_every_check_named_as_a_guarantee_exists():
    named = re.findall(r"`pytest (tests/\S+)`", README)
    assert len(named) >= 6 and all((ROOT / name).exists() for name in named)


def test_the_benchmark_table_says_what_the_results_say():
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    measured = {row[0]: row for row in map(cells, results.splitlines()) if len(row) == 8}
    shown = [row for row in map(cells, README.splitlines()) if re.fullmatch(r"\d+\w*", row[0])]
    assert len(shown) >= 10
    for place, what, figure, ratio, floor, aim in shown:
        assert measured[place][:2] + measured[place][3:7] == [place, what, figure, ratio, floor, aim]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]

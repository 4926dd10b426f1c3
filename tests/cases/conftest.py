"""The external cases: one test a case, and a summary that counts what the product does not support."""

import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from case_files import cases_folder, read_cases

COUNTS, UNSUPPORTED = pytest.StashKey[Counter](), pytest.StashKey[Counter]()
OTHERS = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption(
        "--cases", type=Path, default=None, help="folder of case files (default: cases of the shared folder)"
    )


def pytest_generate_tests(metafunc):
    if "case" not in metafunc.fixturenames:
        return
    folder = cases_folder(metafunc.config)
    cases, others = read_cases(folder) if folder.is_dir() else ([], [])
    metafunc.config.stash[OTHERS] = others
    if cases:
        metafunc.parametrize("case", cases, ids=[case.id for case in cases])
    else:
        metafunc.parametrize("case", [None], ids=["no-cases"])


@pytest.fixture(scope="session")
def by_id(request):
    """Every case by its id: some refer to the table of another."""
    folder = cases_folder(request.config)
    return {case.id: case for case in read_cases(folder)[0]} if folder.is_dir() else {}


@pytest.fixture(scope="session")
def anchors(request):
    """The published anchors by their ids."""
    file = cases_folder(request.config) / "published.json"
    if not file.exists():
        message = f"no {file.name} there (give --cases DIR, or DELEVERAGE_SHARED)"
        if os.environ.get("DELEVERAGE_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    table = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    return {anchor["id"]: anchor for anchor in table["anchors"]}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    case = getattr(item, "callspec", None) and item.callspec.params.get("case")
    if case is None or not (report.when == "call" or report.failed):
        return
    counts = item.config.stash.setdefault(COUNTS, Counter())
    reason = report.longrepr[2] if report.skipped else ""
    if "unsupported:" in reason:
        counts["unsupported"] += 1
        item.config.stash.setdefault(UNSUPPORTED, Counter())[case.category] += 1
    else:
        counts[report.outcome] += 1


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash.get(COUNTS, Counter())
    if not counts:
        return
    terminalreporter.section("external cases")
    for category, number in sorted(config.stash.get(UNSUPPORTED, Counter()).items()):
        terminalreporter.line(f"unsupported {category}: {number}")
    for name in config.stash.get(OTHERS, []):
        terminalreporter.line(f"{name}: another layout, not read")
    terminalreporter.line(f"{counts['passed']} passed, {counts['failed']} failed, {counts['unsupported']} unsupported")

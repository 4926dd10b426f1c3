"""Reading the case files: one `Case` a row, numbers as the exact decimals that the file prints."""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
DEFAULT = Path(os.environ.get("DELEVERAGE_SHARED") or ROOT.joinpath("..", "shared")).joinpath("cases")


def cases_folder(config: Any) -> Path:
    """Folder of the case files of a pytest run: `--cases`, else that of the shared folder."""
    return config.getoption("cases", None) or DEFAULT


class Case(NamedTuple):
    """One external case; the fields are those of the cases' README."""

    id: str
    category: str
    file: str
    source: dict[str, Any]
    inputs: dict[str, Any]
    expected: dict[str, Any]
    tolerance: dict[str, Any]
    recomputed: bool  # the expected values follow from the inputs by the rule that the source states


def read_cases(folder: Path) -> tuple[list[Case], list[str]]:
    """All cases of a folder in file order, and the names of JSON files that have another layout."""
    cases, others = [], []
    for path in sorted(folder.glob("*.json")):
        table = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        if not isinstance(table, dict) or "cases" not in table:
            others.append(path.name)
            continue
        sets = table.get("parameter_sets", {})
        for row in table["cases"]:
            named = {"parameter_set": sets[row["inputs"]["parameter_set"]]} if sets else {}
            cases.append(
                Case(
                    row["id"],
                    row["category"],
                    path.stem,
                    row.get("source", {}),
                    row["inputs"] | named,
                    row["expected"],
                    row.get("tolerance", {"abs": 0}),
                    row.get("recomputed", True),
                )
            )
    return cases, others

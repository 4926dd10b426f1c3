"""Pictures of results, as PNG files. Equal results make equal files."""

from pathlib import Path
from typing import Any

from exchange.errors import ConfigError

INK, GRID = "#22303c", "#d9dee3"
LONG, SHORT, CALM, ALARM = "#2f7fb8", "#d1652b", "#7a9e3f", "#b3202c"
SIZE, DPI = (10.0, 5.2), 120
STYLE = {
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def check_picture(path: Path | None, force: bool) -> None:
    """Refuse early what could not be written at the end."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise ConfigError(str(path), "expected the name of a picture that ends in .png")
    if path.exists() and not force:
        raise ConfigError(str(path), "already exists; give another -o, or --force to replace it")
    if not path.absolute().parent.is_dir():
        raise ConfigError(str(path), "its folder does not exist; make it first, or give another -o")
    check_library()


def check_library() -> Any:
    """The library that draws, or a ConfigError that says how to get it."""
    try:
        import matplotlib
    except ImportError:
        raise ConfigError("-o", "pictures need matplotlib; pip install 'deleverage[plot]'") from None
    return matplotlib


class Chart:
    """One picture: `axes` by row, drawn on in the block of a `with`, written when it ends without an error."""

    def __init__(self, path: Path, title: str, rows: int = 1):
        matplotlib = check_library()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.path, self.context = path, matplotlib.rc_context(STYLE)
        self.context.__enter__()
        self.figure = Figure(figsize=(SIZE[0], SIZE[1] * (0.45 + 0.55 * rows)), dpi=DPI, layout="constrained")
        FigureCanvasAgg(self.figure)
        self.figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        self.axes = self.figure.subplots(rows, 1, squeeze=False)[:, 0]
        for axes in self.axes:
            axes.grid(True, color=GRID, linewidth=0.7)

    def __enter__(self) -> "Chart":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            self.figure.savefig(self.path, format="png", metadata={"Software": None})
        self.context.__exit__(kind, error, trace)


def short_number(value: float, place: int = 0) -> str:
    """1.2M, 35k: for axes."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def money_axis(axes: Any, label: str) -> None:
    """A vertical axis of amounts from zero, with short numbers."""
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(short_number)

"""Line charts as SVG that takes its colours and its font from the page around it."""

from __future__ import annotations

__all__ = ["Chart", "Line", "svg"]

import io
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib draws in these colours, the page puts its own in their place: light, dark or printed.
_INK, _FAINT = "#010101", "#020202"
_COLOURS = tuple(f"#{10 + i:02x}0000" for i in range(6))
_SHEET = {_INK: "var(--ink)", _FAINT: "var(--faint)"} | {
    colour: f"var(--line-{i})" for i, colour in enumerate(_COLOURS)
}
_WIDTH, _HEIGHT = 4.6, 2.9  # inches of 72 units
_FEW = 30  # points of a line that are marked each
_SPACE = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: for the legend.
        x: where; as long as y.
        y: what; None where there is no value, which leaves a gap.
        steps: whether y holds from one x to the next, as in a distribution function.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    steps: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart of lines over one axis.

    Attributes:
        title: above it.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        lines: at most six.
        levels: named values drawn as horizontal lines, such as floors.
        log_x: logarithmic, with a mark at each value of x; for few values of x.
        log_y: logarithmic, where all values are above zero.
        note: below it.
    """

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    levels: Mapping[str, float] = field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False
    note: str = ""

    @property
    def svg(self) -> Markup:
        """The chart as an SVG element."""
        return svg(self)


def svg(chart: Chart) -> Markup:
    """A chart as an SVG element for a page that sets --ink, --faint and --line-0 to --line-5."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": repr(chart),  # equal charts are equal files, others share no names
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
        "text.parse_math": False,
        "axes.formatter.useoffset": False,
    }
    with rc_context(style):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=72)
        canvas: Any = FigureCanvasSVG(figure)  # its methods are not typed
        axes = figure.add_subplot()
        _draw(axes, chart)
        figure.tight_layout(pad=0.4)
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        file = io.BytesIO()
        canvas.print_svg(file, metadata={"Date": None})  # `savefig` would draw it twice
    return _element(file.getvalue(), chart.title)


def _draw(axes: Axes, chart: Chart) -> None:
    for i, line in enumerate(chart.lines):
        y = [math.nan if value is None else value for value in line.y]
        axes.plot(
            line.x,
            y,
            color=_COLOURS[i % len(_COLOURS)],
            label=line.name,
            linewidth=1.6,
            marker="o" if len(y) <= _FEW and not line.steps else None,
            markersize=3.5,
            drawstyle="steps-post" if line.steps else "default",
        )
    for i, (name, value) in enumerate(chart.levels.items(), start=len(chart.lines)):
        colour = _COLOURS[i % len(_COLOURS)]
        axes.axhline(value, color=colour, label=name, linewidth=1.4, linestyle="--")
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    _scale(axes, chart)
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.tick_params(color=_FAINT, which="both")
    axes.spines[:].set_color(_FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    if len(chart.lines) + len(chart.levels) > 1:
        axes.legend(frameon=False, fontsize=9)


def _scale(axes: Axes, chart: Chart) -> None:
    from matplotlib import ticker

    plain = ticker.FuncFormatter(lambda value, place: f"{value:.6g}")
    values = [v for line in chart.lines for v in line.y if v is not None]
    values += chart.levels.values()
    if chart.log_y and values and min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=_subs(min(values), max(values))))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    if chart.log_x:
        axes.set_xscale("log")
        axes.set_xticks(sorted({x for line in chart.lines for x in line.x}))
        axes.xaxis.set_major_formatter(plain)
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    else:
        whole = all(isinstance(x, int) for line in chart.lines for x in line.x)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 5, 10], integer=whole))


def _subs(low: float, high: float) -> tuple[float, ...]:
    """Which multiples of powers of ten to mark, so that there are three marks or more."""
    decades = math.log10(high / low)
    if decades > 3:
        return (1.0,)
    return (1.0, 2.0, 5.0) if decades > 0.7 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)


def _element(text: bytes, title: str) -> Markup:
    """The root of an SVG file, without what an element of a page has no use for."""
    ElementTree.register_namespace("", _SPACE[1:-1])
    ElementTree.register_namespace("xlink", _XLINK[1:-1])
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SPACE}metadata", f"{_SPACE}style"):
                parent.remove(child)
        if parent.tag == f"{_SPACE}g":
            parent.attrib.pop("id", None)  # the same in all charts: figure_1, axes_1
        _recolour(parent)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": title}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704


def _recolour(element: Any) -> None:
    style = element.get("style")
    if style:
        for drawn, shown in _SHEET.items():
            style = style.replace(drawn, shown)
        element.set("style", style)

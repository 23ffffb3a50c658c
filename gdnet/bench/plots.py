"""Pictures of results. matplotlib is imported by `gdnet.report.plots`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gdnet.bench.advice import crossover as crossing
from gdnet.bench.results import hardware
from gdnet.report.plots import new_figure

Row = dict[str, Any]
DPI = 80


def draw(files: Sequence[dict[str, Any]], folder: str | Path) -> list[Path]:
    """All pictures that these results allow, as PNG files in a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    found = []
    for name, make in PICTURES.items():
        figure = make(files)
        if figure is not None:
            found.append(Path(folder) / f"bench_{name}.png")
            figure.savefig(found[-1], dpi=DPI)
    return found


def rows_of(files: Sequence[dict[str, Any]], section: str) -> list[Row]:
    """The rows of one section of several files, each with the hardware it was measured on."""
    return [{**row, "hardware": hardware(f)} for f in files for row in f["sections"].get(section, ())]


def crossover(files: Sequence[dict[str, Any]]) -> Any:
    """Seconds for each example against the batch size: every backend and device, one panel a network."""
    rows = [r for r in rows_of(files, "grid") if r["optimizer"] == "adam"] or rows_of(files, "grid")
    networks = list(dict.fromkeys(r["network"] for r in rows))
    if not networks:
        return None
    figure = new_figure(3.1 * min(len(networks), 3), 2.9 * ((len(networks) + 2) // 3))
    panels = figure.subplots((len(networks) + 2) // 3, min(len(networks), 3), squeeze=False).ravel()
    for axes, network in zip(panels, networks, strict=False):
        own = [r for r in rows if r["network"] == network]
        for k, (candidate, device) in enumerate(dict.fromkeys((r["candidate"], r["device"]) for r in own)):
            line = [r for r in own if (r["candidate"], r["device"]) == (candidate, device)]
            label = f"{candidate.removeprefix('gdnet ')}, {device}"
            axes.loglog(
                [r["batch"] for r in line], [r["seconds"] for r in line], "o-", ms=3, color=f"C{k}", label=label
            )
            far = [r for r in line if r["extrapolated"]]
            axes.loglog([r["batch"] for r in far], [r["seconds"] for r in far], "o", ms=3, mfc="white", color=f"C{k}")
        _mark_crossing(axes, own)
        axes.set(title=network, xlabel="batch size", ylabel="seconds a step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6)
    for axes in panels[len(networks) :]:
        axes.set_axis_off()
    return figure


def _mark_crossing(axes: Any, rows: Sequence[Row]) -> None:
    """A dotted line at the first batch size from which on a GPU is faster, where both were measured."""
    batch = crossing(rows)
    if batch is not None:
        axes.axvline(batch, ls=":", color="0.4")
        axes.annotate(f"GPU from {batch}", (batch, 0.02), xycoords=("data", "axes fraction"), fontsize=6)


def gradient(files: Sequence[dict[str, Any]]) -> Any:
    """Numerical gradients and backpropagation against P, with 2P and 3 forward passes."""
    rows = [r for r in rows_of(files, "gradient") if "textbook_seconds" in r and r["network"].startswith("64-")]
    if not rows:
        return None
    groups = list(dict.fromkeys((r["batch"], r["candidate"], r["device"]) for r in rows))
    figure = new_figure(4.2 * len(groups), 3.6)
    curves = (
        ("textbook_seconds", "textbook loop, central", "o-", "C3"),
        ("structured_seconds", "structured, same quotients", "s-", "C1"),
        ("seconds", "backpropagation", "^-", "C0"),
        ("textbook_theory_seconds", "2P forward passes", ":", "C3"),
        ("theory_seconds", "3 forward passes", ":", "C0"),
    )
    for axes, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        own = [r for r in rows if (r["batch"], r["candidate"], r["device"]) == group]
        for key, label, style, colour in curves:
            line = [r for r in own if r[key] is not None]
            axes.loglog([r["parameters"] for r in line], [r[key] for r in line], style, ms=4, color=colour, label=label)
        far = [r for r in own if r["textbook_extrapolated_from"]]
        if far:
            axes.loglog([r["parameters"] for r in far], [r["textbook_seconds"] for r in far], "o", ms=4, mfc="white",
                        color="C3", label="extrapolated")  # fmt: skip
        axes.set(xlabel="parameters P", ylabel="seconds a gradient", title=f"{group[1]}, {group[2]}, batch {group[0]}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=6)
    return figure


def steps(files: Sequence[dict[str, Any]]) -> Any:
    """The named cases: every candidate's time over its own matrix products' time, on the first machine."""
    rows = [r for r in rows_of(files[:1], "steps") if r["seconds"] and "over_floor" in r]
    if not rows:
        return None
    cases = list(dict.fromkeys(r["case"] for r in rows))
    figure = new_figure(2.6 * len(cases), 2.6)
    for axes, case in zip(figure.subplots(1, len(cases), squeeze=False)[0], cases, strict=True):
        own = [r for r in rows if r["case"] == case][::-1]
        colours = ["C0" if r["candidate"].startswith("gdnet") else "0.6" for r in own]
        axes.barh([r["candidate"] for r in own], [1e6 * r["seconds"] for r in own], color=colours)
        axes.plot([1e6 * r["floor_seconds"] for r in own], range(len(own)), "k|", ms=9)
        axes.set(xlabel="µs a step", title=f"{case}: {own[0]['network']}")
        axes.tick_params(labelsize=7)
    return figure


PICTURES = {"steps": steps, "crossover": crossover, "gradient": gradient}

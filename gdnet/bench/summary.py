"""The table that ends a run: at most 40 lines; everything else stands in the JSON file."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from gdnet.bench.advice import ahead, crossover, fastest, micro
from gdnet.bench.results import Sections
from gdnet.bench.scaling import spread

LINES = 40
WIDTH = 13
Row = dict[str, Any]


def summary(sections: Sections) -> str:
    """The most important numbers of every section, the named cases first."""
    lines: list[str] = []
    for name, show in SHOWN.items():
        if sections.get(name):
            lines += show(sections[name])
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"... and {len(lines) - LINES + 1} lines more: see the JSON file"]
    return "\n".join(lines)


def steps(rows: Sequence[Row]) -> list[str]:
    """Named cases: microseconds a step and the ratio to the products alone; then peers over gdnet's default."""
    names = list(dict.fromkeys(r["candidate"] for r in rows))
    cases = list(dict.fromkeys(_case(r) for r in rows))
    found = {(_case(r), r["candidate"]): r for r in rows}
    first = names[0]
    lines = [_line("a step, and over its matrix products", names)]
    for case in cases:
        lines.append(_line(_title(found[case, first]), [_step(found.get((case, n))) for n in names]))
    if len(names) > 1:
        lines.append(_line(f"time over {first}'s", names[1:]))
        for case in cases:
            own = found[case, first]["seconds"]
            others = [found.get((case, n)) for n in names[1:]]
            cells = [f"{r['seconds'] / own:.2f}" if r and r["seconds"] else "-" for r in others]
            lines.append(_line(f"{case}", cells))
    unlike = [f"{_case(r)} {r['candidate']}" for r in rows if r.get("comparable") is False]
    if unlike:
        lines.append(f"! the loss differs, not comparable: {', '.join(unlike)}")
    skipped = {f"{r['candidate']} ({r['skipped'][:50]})" for r in rows if r.get("skipped")}
    return lines + ([f"not run: {', '.join(sorted(skipped))}"] if skipped else [])


def _case(row: Row) -> str:
    return str(row["case"] or row["network"])


def _title(row: Row) -> str:
    return f"{row['case']} {row['network']} {row['activation']} {row['batch']} {row['optimizer']}"


def _step(row: Row | None) -> str:
    if not row or not row["seconds"]:
        return "-"
    ratio = f" x{row['over_floor']:.2f}" if "over_floor" in row else ""
    return micro(row["seconds"]).replace(" ", "") + ratio + ("" if row["comparable"] else "!")


def _line(title: str, cells: Sequence[str]) -> str:
    return f"{title:<36}" + "".join(f"{cell:>{max(WIDTH, len(cell) + 1)}}" for cell in cells)


def grid(rows: Sequence[Row]) -> list[str]:
    """The fastest backend at the smallest, a middle and the largest batch of each network."""
    lines = []
    for network, optimizer in dict.fromkeys((r["network"], r["optimizer"]) for r in rows):
        own = [r for r in rows if r["network"] == network and r["optimizer"] == optimizer]
        best = fastest(own, own[0]["device"])
        sizes = sorted(best)
        cells = []
        for n in (sizes[0], sizes[len(sizes) // 2], sizes[-1]):
            mark = "*" if best[n]["extrapolated"] else ""
            cells.append(f"{n}: {best[n]['examples_per_second']:,.0f}{mark} {best[n]['candidate'][6:]}")
        turn = crossover(own)
        lines.append(f"{network + ' ' + optimizer:<26} {'  '.join(cells)}" + (f"  GPU from {turn}" if turn else ""))
    star = "; * extrapolated" if any(r["extrapolated"] for r in rows) else ""
    return [f"examples/s at batch size, and the fastest backend{star}", *lines]


def others(rows: Sequence[Row]) -> list[str]:
    """How often the best backend is ahead of the best peer, and the worst and best ratios."""
    found = ahead(rows)
    if not found:
        return []
    ratios = {f"{n} {batch} {o}": ratio for (n, o, batch), (ratio, _, _) in found.items()}
    worst, best = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    count = sum(ratio > 1 for ratio in ratios.values())
    middle = f"{count} of {len(ratios)} above 1, median {median(ratios.values()):.2f}"
    ends = f"from {ratios[worst]:.2f} ({worst}) to {ratios[best]:.2f} ({best})"
    return [f"other sizes, best peer over best backend: {middle}, {ends}"]


def gradient(rows: Sequence[Row]) -> list[str]:
    named = [r for r in rows if "case" in r]
    lines = []
    for candidate in dict.fromkeys(r["candidate"] for r in named):
        cells = [f"{r['case']} {r['over_forward']:.2f}" for r in named if r["candidate"] == candidate]
        lines.append(f"gradient over one forward pass, {candidate}: {', '.join(cells)}")
    numerical = [r for r in rows if "textbook_seconds" in r]
    first = min((r["batch"] for r in numerical), default=0)
    for r in [r for r in numerical if r["batch"] == first][-3:]:
        star = "*" if r["textbook_extrapolated_from"] else ""
        text = f"numerical {r['network']} P={r['parameters']} N={r['batch']}: loop {micro(r['textbook_seconds'])}{star}"
        text += f" = {r['textbook_seconds'] / r['seconds']:,.0f} x backprop"
        if r["structured_seconds"]:
            text += f", {r['textbook_seconds'] / r['structured_seconds']:.1f} x structured"
        lines.append(text + (" (* extrapolated)" if star else ""))
    return lines


def update(rows: Sequence[Row]) -> list[str]:
    lines = []
    for name, size in dict.fromkeys((r["optimizer"], r["parameters"]) for r in rows):
        own = [r for r in rows if (r["optimizer"], r["parameters"]) == (name, size)]
        cells = ", ".join(f"{r['candidate']} {r['over_bound']:.2f}" for r in own)
        speed = own[0]["bandwidth"] / 1e9
        lines.append(f"{name} update of {size:.0e} over its bound at {speed:.1f} GB/s: {cells}")
    return lines


def fit(rows: Sequence[Row]) -> list[str]:
    cells = ", ".join(f"{r['candidate']} {r['over_bare']:.3f} ({r['over_fed']:.3f})" for r in rows)
    return [f"fit over bare steps (with its batches), {rows[0]['network']}, {rows[0]['examples']} examples: {cells}"]


def scaling(rows: Sequence[Row]) -> list[str]:
    parts = []
    for varied in ("N", "P"):
        own = [r for r in rows if r["varied"] == varied]
        parts.append(f"{varied} ±{100 * spread(own):.0f} % over {own[-1]['amount'] / own[0]['amount']:.0f}x")
    return [f"time for each unit of work, {rows[0]['candidate']}: {', '.join(parts)}"]


def memory(rows: Sequence[Row]) -> list[str]:
    lines = []
    for candidate in dict.fromkeys(r["candidate"] for r in rows):
        own = [r for r in rows if r["candidate"] == candidate and r["peak_bytes"]]
        cells = [f"{_case(r)} {r['peak_bytes'] / 2**20:.1f} MiB x{r['over_bound']:.2f}" for r in own]
        lines.append(f"peak memory over parameters + state + activations, {candidate}: {', '.join(cells)}")
    return lines


def operations(rows: Sequence[Row]) -> list[str]:
    lines = []
    for candidate in dict.fromkeys(r["candidate"] for r in rows):
        own = [r for r in rows if r["candidate"] == candidate]
        cells = [f"{_case(r)} {'?' if r['operations'] is None else r['operations']}" for r in own]
        lines.append(f"{own[0]['unit']} a step, {candidate}: {', '.join(cells)}")
    return lines


def libraries(rows: Sequence[Row]) -> list[str]:
    cells = [f"{r['candidate']} {r['seconds']:.2f} s {r['bytes'] / 1e6:,.0f} MB" for r in rows]
    return [f"import and installed size: {', '.join(cells)}"]


SHOWN: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    "steps": steps,
    "others": others,
    "gradient": gradient,
    "update": update,
    "fit": fit,
    "scaling": scaling,
    "memory": memory,
    "operations": operations,
    "import": libraries,
    "grid": grid,
}

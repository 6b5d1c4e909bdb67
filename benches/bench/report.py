"""Rounds to tables: medians, and ratios as medians of paired ratios."""

import json
from statistics import median

COLUMNS = [
    ("server", "{:<14}"), ("rounds", "{:>6}"), ("CPU µs/call", "{:>11}"), ("× unit", "{:>7}"), ("spread", "{:>13}"),
    ("ledger µs", "{:>9}"), ("helper µs", "{:>9}"), ("asked/call", "{:>10}"), ("calls/s", "{:>8}"), ("p50 µs", "{:>7}"), ("p99 µs", "{:>7}"),
    ("busy", "{:>5}"), ("MiB", "{:>6}"),
]


def ratios(rounds, name, unit):
    """One ratio per round in which both were measured."""
    return [
        by_name[name]["cpu_us"] / by_name[unit]["cpu_us"]
        for by_name in rounds if name in by_name and unit in by_name and by_name[unit]["cpu_us"] > 0
    ]


def summary(rounds, unit):
    """Median figures by server, in the order of measurement; ratios against the unit, if it was measured."""
    names = sorted({name for by_name in rounds for name in by_name}, key=list(rounds[0]).index)
    result = {}
    for name in names:
        mine = [by_name[name] for by_name in rounds if name in by_name]
        row = {key: median(one[key] for one in mine) for key, value in mine[0].items() if isinstance(value, (int, float))}
        row["rounds"] = len(mine)
        paired = ratios(rounds, name, unit)
        if paired:
            row["ratio"], row["ratio_low"], row["ratio_high"] = median(paired), min(paired), max(paired)
        row["not_ok"] = sum(one["not_ok"] for one in mine)
        row["broken"] = sum(one["broken"] for one in mine)
        result[name] = row
    return result


def table(rows):
    """The summary as text."""
    lines = ["  ".join(form.format(title) for title, form in COLUMNS)]
    for name, row in rows.items():
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else "-"
        spread = f"{row['ratio_low']:.2f}-{row['ratio_high']:.2f}" if "ratio" in row else "-"
        cells = [
            name, str(row["rounds"]), f"{row['cpu_us']:.1f}", ratio, spread, f"{row['ledger_us']:.2f}",
            f"{row['helper_us']:.1f}", f"{row['statements']:.4f}", f"{row['calls_per_second']:.0f}", f"{row['p50_us']:.0f}",
            f"{row['p99_us']:.0f}", f"{row['busy'] * 100:.0f}%", f"{row['resident_mib']:.0f}",
        ]
        lines.append("  ".join(form.format(cell) for (_, form), cell in zip(COLUMNS, cells)))
        if row["not_ok"] or row["broken"]:
            lines.append(f"  {name}: {row['not_ok']} answers were errors, {row['broken']} calls broke: not comparable")
    return "\n".join(lines)


def save(path, settings, rounds, rows):
    """All of it as JSON, raw rounds included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"settings": settings, "summary": rows, "rounds": rounds}, indent=1) + "\n")

"""The description of a source as text for a terminal."""

from __future__ import annotations

from stconv.datasets.inspection.description import Description

SHOWN_GAPS = 5
SHOWN_LEADS = 10


def description_text(found: Description) -> str:
    """Write a description as lines for a terminal."""
    lines: list[str] = []
    on_disk = f"{size(found.disk_bytes)} on disk, " if found.disk_bytes else ""
    lines.append(f"{source_title(found)} ({on_disk}{size(found.memory_bytes)} in memory)")
    step = f"step {found.step}" if found.step else "one step"
    gaps = f", {found.gaps_counted}" if found.step else ""
    lines.append(
        f"  time   {found.n_steps} x, {found.first} to {found.last}, {step}{gaps}, calendar {found.calendar}"
    )
    lines += [
        f"         gap between {gap.after} and {gap.before} ({gap.missing_steps} steps missing)"
        for gap in found.gaps[:SHOWN_GAPS]
    ]
    if len(found.gaps) > SHOWN_GAPS:
        lines.append(f"         and {len(found.gaps) - SHOWN_GAPS} more gaps")
    lines.append(f"  grid   {found.grid}")
    for axis in found.axes:
        ends = "no coordinate" if axis.first is None else f"{axis.first:g} to {axis.last:g}"
        spacing = f", every {axis.spacing:g}" if axis.spacing else ""
        lines.append(f"         {axis.name}: {axis.size} x, {ends}{spacing}")
    header = ("variable", "units", "lowest", "mean", "highest", "std", "missing", "meaning")
    rows: list[tuple[str, ...]] = [header]
    for v in found.variables:
        numbers = [*v.written, _number(v.standard_deviation)]
        missing = f"{100 * v.missing_share:.3g} %" if v.missing_share else "none"
        rows.append((v.name, v.units or "-", *numbers, missing, v.meaning))
    widths = [max(len(row[k]) for row in rows) for k in range(7)]
    for name, units, *numbers, meaning in rows:
        aligned = "  ".join(f"{number:>{width}}" for number, width in zip(numbers, widths[2:], strict=True))
        lines.append(f"  {name:{widths[0]}}  {units:{widths[1]}}  {aligned}  {meaning}".rstrip())
    for name, reason in found.left_out.items():
        lines.append(f"  left out: '{name}' {reason}.")
    lines.append(
        f"  windows of {found.t_in} steps in, {found.leads} out: {found.n_windows}, of which "
        f"{found.n_training_windows} in the first 60 % for training"
    )
    for v in found.variables:
        for name, errors in (("persistence", v.persistence_rmse), ("climatology", v.climatology_rmse)):
            if errors:
                listed = " ".join(f"{error:.3g}" for error in errors[:SHOWN_LEADS])
                listed += " ..." if len(errors) > SHOWN_LEADS else ""
                listed += f" {v.units}" if v.units not in ("", "1") else ""
                lines.append(f"  RMSE of {name} for {v.name}, last 20 %, lead 1 to {len(errors)}: {listed}")
    lines += [f"  * {sentence}" for sentence in found.advice]
    return "\n".join(lines)


def source_title(found: Description) -> str:
    """Name of the source: its file, or the first of its files and their number."""
    return found.files[0] if len(found.files) == 1 else f"{len(found.files)} files, {found.files[0]} ..."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def size(n_bytes: int) -> str:
    """Write a number of bytes with a unit."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} bytes"

"""``stconv inspect``: describe files before training on them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stconv.cli.grid_arguments import add_grid_arguments, grid_spec

if TYPE_CHECKING:
    from stconv.datasets.inspection.description import Description

SHOWN_GAPS = 5
SHOWN_LEADS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Describe files: axes, calendar, time step, gaps, missing values, units, ranges, memory, number "
        "of windows for training, and advice."
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="NetCDF, Zarr or GRIB: files, folders or patterns, read as one series",
    )
    parser.add_argument(
        "--variables", nargs="+", metavar="NAME", help="variables to describe (default: every field)"
    )
    parser.add_argument(
        "--t-in", type=_positive, default=5, metavar="N", help="input steps of a window (default: 5)"
    )
    parser.add_argument(
        "--leads", type=_positive, default=5, metavar="N", help="steps to forecast (default: 5)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the last field and the time series of the grid mean"
    )
    parser.add_argument(
        "--write-config",
        type=Path,
        metavar="FILE",
        help="write an experiment for `stconv fit --config`",
    )
    add_grid_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    import json

    from stconv.datasets.inspection.inspect import describe, plot

    spec = grid_spec(args)
    if args.fill_gaps is None:
        spec = replace(spec, fill_gaps=args.t_in // 2)
    description, ds = describe(args.paths, spec, args.variables, args.t_in, args.leads)
    if args.json:
        print(json.dumps(description.to_json(), indent=2))
    else:
        _print(description)
    notes = []
    if args.plot is not None:
        notes.append(f"Picture: {plot(ds, args.plot)}")
    if args.write_config is not None:
        from stconv.experiments.starter import write_starter

        written = write_starter(args.write_config, description, args.paths, spec)
        notes.append(f"Experiment: {written}. Next: stconv fit --config {written}")
    if notes and not args.json:
        print("\n" + "\n".join(notes))
    return 0


def _print(found: Description) -> None:
    files = found.files[0] if len(found.files) == 1 else f"{len(found.files)} files, {found.files[0]} ..."
    print(f"{files} ({_size(found.disk_bytes)} on disk, {_size(found.memory_bytes)} in memory)")
    step = f"step {found.step}" if found.step else "one step"
    gaps = f", {len(found.gaps)} gap(s)" if found.gaps else ", no gaps" if found.step else ""
    print(
        f"  time   {found.n_steps} x, {found.first} to {found.last}, {step}{gaps}, calendar {found.calendar}"
    )
    for gap in found.gaps[:SHOWN_GAPS]:
        print(f"         gap between {gap.after} and {gap.before} ({gap.missing_steps} steps missing)")
    if len(found.gaps) > SHOWN_GAPS:
        print(f"         and {len(found.gaps) - SHOWN_GAPS} more gaps")
    print(f"  grid   {found.grid}")
    for axis in found.axes:
        ends = "no coordinate" if axis.first is None else f"{axis.first:g} to {axis.last:g}"
        spacing = f", every {axis.spacing:g}" if axis.spacing else ""
        print(f"         {axis.name}: {axis.size} x, {ends}{spacing}")
    header = ("variable", "units", "lowest", "mean", "highest", "std", "missing", "meaning")
    rows: list[tuple[str, ...]] = [header]
    for v in found.variables:
        numbers = [_number(x) for x in (v.minimum, v.mean, v.maximum, v.standard_deviation)]
        missing = f"{100 * v.missing_share:.3g} %" if v.missing_share else "none"
        rows.append((v.name, v.units or "-", *numbers, missing, v.long_name))
    widths = [max(len(row[k]) for row in rows) for k in range(7)]
    for name, units, *numbers, meaning in rows:
        aligned = "  ".join(f"{number:>{width}}" for number, width in zip(numbers, widths[2:], strict=True))
        print(f"  {name:{widths[0]}}  {units:{widths[1]}}  {aligned}  {meaning}".rstrip())
    for name, reason in found.left_out.items():
        print(f"  left out: '{name}' {reason}.")
    print(
        f"  windows of {found.t_in} steps in, {found.leads} out: {found.n_windows}, of which "
        f"{found.n_training_windows} in the first 60 % for training"
    )
    for v in found.variables:
        for name, errors in (("persistence", v.persistence_rmse), ("climatology", v.climatology_rmse)):
            if errors:
                listed = " ".join(f"{error:.3g}" for error in errors[:SHOWN_LEADS])
                more = " ..." if len(errors) > SHOWN_LEADS else ""
                print(f"  RMSE of {name} for {v.name}, last 20 %, lead 1 to {len(errors)}: {listed}{more}")
    for sentence in found.advice:
        print(f"  * {sentence}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} bytes"


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {value}")
    return value

"""The objects of the front door as HTML, as a notebook shows them; no script, and no file from elsewhere."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stconv.dims import TIME

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from stconv.datasets.inspection.description import Description
    from stconv.diagnosis import Finding
    from stconv.explain import Explanation
    from stconv.tracking.store import RunInfo
    from stconv.verification import Verification

MAX_MAPS = 4
"""Variables whose last field is shown as a map."""
STYLE = """<style>
.stconv{font:14px/1.45 system-ui,sans-serif;max-width:72em;border:1px solid rgba(128,128,128,.35);
border-radius:8px;padding:.8em 1.1em;margin:.4em 0}
.stconv h3{margin:0 0 .3em;font-size:1.15em}.stconv p{margin:.25em 0}.stconv .soft{opacity:.7}
.stconv table{border-collapse:collapse;margin:.5em 0}.stconv th,.stconv td{padding:.2em .7em;text-align:right;
border-bottom:1px solid rgba(128,128,128,.25)}.stconv th:first-child,.stconv td:first-child,.stconv .left
{text-align:left}.stconv .scroll{overflow-x:auto}.stconv img{max-width:100%;background:#fff;border-radius:4px}
.stconv .maps{display:flex;gap:1em;flex-wrap:wrap}.stconv figure{margin:.3em 0}.stconv .maps img
{height:110px;image-rendering:pixelated}.stconv figcaption{font-size:.85em;opacity:.75}
.stconv .verdict{font-weight:600;border-left:4px solid #2a9d8f;padding-left:.7em}
.stconv .loses{border-color:#d1495b}.stconv .undecided{border-color:#e9a23b}
.stconv pre{margin:.3em 0;font-size:.85em;overflow-x:auto}.stconv summary{cursor:pointer}</style>"""


def card(title: str, *parts: str, soft: str = "") -> str:
    """Frame parts, each HTML, under a title; `soft` is a line of text below it."""
    line = f'<p class="soft">{escape(soft)}</p>' if soft else ""
    return f'{STYLE}<div class="stconv"><h3>{escape(title)}</h3>{line}{"".join(parts)}</div>'


def rows_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay text out as a table."""
    heading = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>'


def fact_list(facts: Sequence[tuple[str, str]]) -> str:
    """Lay facts out by heading."""
    body = "".join(
        f'<tr><td class="soft">{escape(name)}</td><td class="left">{escape(text)}</td></tr>'
        for name, text in facts
    )
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>'


def count(n: Any, noun: str) -> str:
    """Count things, one or several."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def sentences(lines: Sequence[str]) -> str:
    """List sentences; words in backticks are set as code."""
    items = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(line)) for line in lines)
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>" if lines else ""


def image(figure: Figure, alt: str) -> str:
    """Embed a figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return png(buffer.getvalue(), alt)


def png(content: bytes, alt: str) -> str:
    """Embed a PNG."""
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


def folded(title: str, content: str, open_: bool = False) -> str:
    """Hide content behind its title."""
    return f"<details{' open' if open_ else ''}><summary>{escape(title)}</summary>{content}</details>"


def inspection_html(found: Description, ds: xr.Dataset, advice: Sequence[str]) -> str:
    """Description of data: axes, variables with their errors to beat, maps of the last step, advice."""
    from stconv.datasets.inspection.text import size, source_title

    gaps = found.gaps_counted
    step = f"step {found.step}, {gaps}" if found.step else "one step"
    axes = "; ".join(
        f"{axis.name}: {axis.size}" + ("" if axis.first is None else f" from {axis.first:g} to {axis.last:g}")
        for axis in found.axes
    )
    facts = fact_list(
        [
            ("time", f"{found.n_steps} steps, {found.first} to {found.last}, {step}"),
            ("grid", f"{found.grid}; {axes}"),
            (
                "windows",
                f"{found.n_windows} of {found.t_in} steps in and {found.leads} out, "
                f"{found.n_training_windows} to train on",
            ),
            ("memory", size(found.memory_bytes)),
        ],
    )
    head = [
        "variable",
        "units",
        "lowest",
        "mean",
        "highest",
        "missing",
        "persistence",
        "climatology",
        "meaning",
    ]
    rows = [
        [
            v.name,
            v.units or "-",
            *v.written,
            f"{100 * v.missing_share:.3g} %" if v.missing_share else "none",
            *(_ends(errors) for errors in (v.persistence_rmse, v.climatology_rmse)),
            v.meaning,
        ]
        for v in found.variables
    ]
    maps = [_map(ds, str(name)) for name in list(ds.data_vars)[:MAX_MAPS]]
    note = "persistence, climatology: RMSE to beat, first to last lead, in the last 20 % of the steps"
    return card(
        source_title(found),
        facts,
        rows_table(head, rows),
        f'<p class="soft">{note}</p>',
        f'<div class="maps">{"".join(maps)}</div>',
        sentences(advice),
    )


def experiment_html(name: str, values: Mapping[str, Any]) -> str:
    """An experiment: what it forecasts from what, with which network, and the whole as YAML."""
    import yaml

    data, model, trainer = values["data"], values["model"], values.get("trainer") or {}
    preparation, window = data.get("preparation") or {}, data.get("window") or {}
    inputs = preparation.get("inputs") or []
    targets = preparation.get("targets") or inputs
    source = data.get("source") or {}
    where = source.get("recipe") or (
        "a Dataset in memory" if source.get("in_memory") else source.get("paths")
    )
    facts = [
        ("data", ", ".join(where) if isinstance(where, list) else str(where)),
        ("forecast", f"{_words(targets)}, {window.get('leads', 5)} steps ahead"),
        ("from", f"{_words(inputs)}, {window.get('t_in', 5)} steps"),
        ("network", " over ".join(reversed(_networks(model.get("network"))))),
        ("training", f"at most {count(trainer.get('max_epochs', '?'), 'epoch')}"),
    ]
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
    whole = folded("YAML", f"<pre>{escape(text)}</pre>")
    return card(f"Experiment {name}", fact_list(facts), whole)


def scores_html(verification: Verification, folder: Path) -> str:
    """Scores: the verdict first, then a table, curves, and maps of a typical case."""
    from stconv.verification.report.plots import skill_figure
    from stconv.verification.report.table import decimals, number, percent

    sums = verification.sums
    css = verification.overall().split()[0]
    parts = [f'<p class="verdict {css}">{escape(verification.verdict())}</p>']
    for row, variable in enumerate(sums.variables):
        errors = sums.rmse(sums.model)[row]
        places = decimals(errors)
        units = sums.units[variable]
        table = [[f"RMSE{f', {units}' if units else ''}", *(number(x, places) for x in errors)]]
        table += [
            [f"  {name}", *(number(x, places) for x in sums.rmse(name)[row])] for name in sums.references
        ]
        table += [
            [f"skill against {name}", *(f"{percent(x)} %" for x in sums.skill(sums.model, name)[row])]
            for name in sums.references
        ]
        parts.append(rows_table([variable, *verification.labels], table))
    parts.append(image(skill_figure(verification), "error and skill against lead"))
    for picture in sorted(folder.glob("forecast_*.png")):
        data = base64.b64encode(picture.read_bytes()).decode()
        name = picture.stem.removeprefix("forecast_")
        alt = f"truth, forecast and error of {name}"
        parts.append(
            folded(f"Maps of {name}", f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">')
        )
    return card(verification.title, *parts)


def run_html(info: RunInfo, folder: Path) -> str:
    """A run: status, losses and scores, and its folder."""
    shown = {name: value for name, value in sorted(info.metrics.items()) if name in METRICS}
    facts = [
        ("status", info.status + (", tested" if info.tested else ", not tested")),
        ("started", f"{info.started:%Y-%m-%d %H:%M} UTC"),
        ("id", info.run_id),
        *((name, f"{value:.4g}") for name, value in shown.items()),
        ("folder", str(folder)),
    ]
    return card(f"Run {info.name} of {info.experiment}", fact_list(facts))


METRICS = ("train_loss", "val_loss", "val_rmse", "test_rmse")
"""Metrics of a run that are shown with it."""


def runs_html(infos: Sequence[RunInfo]) -> str:
    """Runs as a table, newest first."""
    rows = [
        (
            info.name,
            info.run_id[:8],
            info.experiment,
            info.status,
            f"{info.started:%Y-%m-%d %H:%M}",
            *(
                f"{info.metrics[name]:.4g}" if name in info.metrics else "-"
                for name in ("val_rmse", "test_rmse")
            ),
        )
        for info in infos
    ]
    head = ["run", "id", "experiment", "status", "started, UTC", *METRICS[2:]]
    return card(count(len(infos), "run"), rows_table(head, rows))


def comparison_html(title: str, table: pd.DataFrame, figure: Figure) -> str:
    """Runs side by side: a table and a picture."""
    head = ["", *map(str, table.columns)]
    rows = [
        [str(rank), *(_cell(name, value) for name, value in row.items())]
        for rank, row in zip(table.index, table.to_dict("records"), strict=True)
    ]
    return card(title, rows_table(head, rows), image(figure, "error and skill of the runs"))


def model_html(name: str, version: str, reference: str, inputs: Mapping[str, Any], model_card: str) -> str:
    """A model: what it needs, and its card."""
    variables = ", ".join(f"{v['name']} ({v['units'] or 'no unit'})" for v in inputs["variables"])
    facts = [
        ("needs", f"{variables}; {inputs['frames']['count']} frames, {inputs['step']['label']} apart"),
        ("version", version),
        ("from", reference),
    ]
    return card(
        f"Model {name}",
        fact_list(facts),
        folded("Model card", markdown(model_card), open_=True),
    )


def service_html(name: str, url: str) -> str:
    """A running service, with the addresses of its map and its documentation."""
    links = " · ".join(
        f'<a href="{escape(url + path)}">{words}</a>'
        for path, words in (("/", "map"), ("/docs", "all routes"))
    )
    return card(f"Service of {name}", f"<p>{links}</p>", soft=url)


def sweep_html(table: pd.DataFrame, config: str) -> str:
    """Trials of a sweep, best first."""
    rows = [
        [str(number), *(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row.values())]
        for number, row in zip(table.index, table.to_dict("records"), strict=True)
    ]
    head = ["trial", *map(str, table.columns)]
    return card(
        f"Sweep of {count(len(rows), 'trial')}", rows_table(head, rows), soft=f"best configuration: {config}"
    )


def explanation_html(found: Explanation, pictures: Sequence[Path]) -> str:
    """A network: its layers with size, cost and receptive field, and pictures."""
    rows = [
        (
            layer.name or "the network itself",
            layer.kind,
            _by(layer.kernel),
            _by((layer.channels, *layer.size)),
            str(field.steps),
            "all" if field.whole_grid else _by(field.cells),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "-",
        )
        for layer, field in zip(found.layers, found.reaches, strict=True)
        if layer.multiply_adds or layer.kernel or layer.parameters
    ]
    head = ["layer", "kind", "kernel", "output (ch, t, lat, lon)", "sees steps", "sees cells"]
    field = found.output
    cells = "the whole grid" if field.whole_grid else f"{_by(field.cells)} cells"
    soft = (
        f"{found.parameters:,} parameters, {found.multiply_adds:,} multiply-adds for a window of "
        f"{_by(found.grid)} cells; the forecast of a cell sees {field.steps} steps and {cells}"
    )
    drawn = [folded(path.stem, png(path.read_bytes(), path.stem)) for path in pictures]
    table = rows_table([*head, "parameters", "multiply-adds"], rows)
    return card(str(found.network["name"]), table, *drawn, soft=soft)


def _by(sizes: Sequence[int] | None) -> str:
    return "x".join(map(str, sizes)) if sizes else "-"


def diagnosis_html(findings: Sequence[Finding]) -> str:
    """Findings on the installation and the machine, with their remedies."""
    rows = [(str(f.state), f.check, " ".join(filter(None, (f.found, f.remedy)))) for f in findings]
    return card("Installation and machine", rows_table(["state", "check", "found"], rows))


def markdown(text: str) -> str:
    """Show the headings, lists, tables, bold words and code of a model card."""
    html: list[str] = []
    table: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if (" | " in line and not line.startswith("-")) or set(line) == set("-| "):
            cells = [cell.strip() for cell in line.strip("| ").split("|")]
            if not all(set(cell) <= set("-: ") for cell in cells):
                table.append(cells)
            continue
        if table:
            html.append(rows_table(table[0], table[1:]))
            table = []
        if line.startswith("#"):
            html.append(f"<p><b>{escape(line.lstrip('# '))}</b></p>")
        elif line.startswith("- "):
            html.append(f"<p>• {_marked(line[2:])}</p>")
        elif line:
            html.append(f"<p>{_marked(line)}</p>")
    return "".join(html)


def _marked(text: str) -> str:
    """Bold words and code of Markdown."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _map(ds: xr.Dataset, name: str) -> str:
    from stconv.verification.report.pixels import picture

    field = np.asarray(ds[name].isel({TIME: -1}).values, dtype=float)
    valid = field[np.isfinite(field)]
    low, high = (float(valid.min()), float(valid.max())) if valid.size else (0.0, 1.0)
    address = picture(field, low, high)
    caption = escape(f"{name}, last step, {low:.4g} to {high:.4g} {ds[name].attrs.get('units', '')}")
    shown = f'<img src="{address}" alt="{caption}">'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def _ends(errors: Sequence[float]) -> str:
    return "-" if not errors else f"{errors[0]:.3g} to {errors[-1]:.3g}"


def _words(names: Sequence[str] | str) -> str:
    return names if isinstance(names, str) else ", ".join(names)


def _networks(described: Any) -> list[str]:
    """Names of a network and of the networks that it wraps."""
    if isinstance(described, str):
        return [described.rpartition(".")[2]]
    if not isinstance(described, Mapping):
        return ["?"]
    inner = (described.get("init_args") or {}).get("network")
    return [str(described.get("class_path")).rpartition(".")[2], *(_networks(inner) if inner else [])]


def _cell(name: Any, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{100 * value:+.0f} %" if str(name).startswith("skill") else f"{value:.4g}"

"""The moving picture of a terminal in the README: `python docs/terminal.py` makes it.

It runs the commands of the tutorial on the made data of the tutorial, and draws what they print; only the
waiting is shortened. The picture is one SVG with animations in CSS, which browsers and code hosts play
without scripts.
"""

from __future__ import annotations

import html
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

TARGET = Path(__file__).parent / "images" / "terminal.svg"
DATA = "from stconv.datasets.recipes.synthetic import generate; generate('my_data.nc', 2000, 12, 16)"
SERVE = "stconv serve --model models:/my_model@champion --data my_data.nc &"
SAID = ("Serving ", "http://127.0.0.1:8000 in a browser")
"""Beginnings of the lines of the server that are shown; the others are its log, and hints."""
POINT = "http://127.0.0.1:8000/v1/forecast?latitude=35&longitude=5"
COMMANDS = (
    "stconv inspect my_data.nc --variables t2m --t-in 5 --leads 5 --write-config my.yaml --minutes 1",
    "stconv fit --config my.yaml",
    "stconv test --config my.yaml",
    "stconv register --name my_model",
    "stconv promote my_model",
    SERVE,
    f"curl '{POINT}'",
)
COLUMNS, ROWS = 100, 27
CELL, LINE, MARGIN = 8.43, 18.0, 16.0
"""Width of a letter, height of a line, and space around the text, in pixels."""
SECONDS_PER_KEY, SECONDS_PER_LINE, SECONDS_TO_READ, SECONDS_AT_THE_END = 0.035, 0.06, 1.6, 6.0

FRAME = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 WIDTH HEIGHT" width="WIDTH" role="img"
 aria-label="A terminal: stconv inspects a file, trains, tests, promotes and serves a model, and forecasts">
<style>
text { font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; }
.said { fill: #c9d1d9; }
.typed { fill: #ffffff; font-weight: bold; }
.prompt, .verdict { fill: #7ee787; }
.all { animation: scroll SECONDS step-end infinite; }
STYLES
@media (prefers-reduced-motion: reduce) {
  .all { animation: none; END }
  .all text { animation: none; opacity: 1; clip-path: none; }
}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<circle cx="20" cy="16" r="5.5" fill="#ff5f57"/>
<circle cx="38" cy="16" r="5.5" fill="#febc2e"/>
<circle cx="56" cy="16" r="5.5" fill="#28c840"/>
<svg x="16" y="28" width="TEXT_W" height="TEXT_H" viewBox="0 5 TEXT_W TEXT_H"><g class="all">
ROWS
</g></svg>
</svg>
"""


@dataclass(frozen=True)
class Line:
    """A line of the terminal.

    Attributes:
        text: Content without the prompt.
        start: Time at which it appears, s.
        seconds: Time that it takes to be typed, s; 0 for output.
    """

    text: str
    start: float
    seconds: float = 0.0


def record(folder: Path) -> list[tuple[str, list[str]]]:
    """Run the commands one after the other, and return them with the lines that they print."""
    environment = os.environ | {
        "COLUMNS": str(COLUMNS),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    subprocess.run([sys.executable, "-c", DATA], cwd=folder, check=True)
    said, server = [], None
    try:
        for command in COMMANDS:
            if command == SERVE:
                log = folder / "serve.log"
                with log.open("w") as file:
                    words = command.removesuffix(" &").split()
                    server = subprocess.Popen(words, cwd=folder, env=environment, stdout=file, stderr=file)
                wait_for(POINT)
                output = [line for line in log.read_text().splitlines() if line.lstrip().startswith(SAID)]
            else:
                done = subprocess.run(
                    ["bash", "-c", command.replace("curl", "curl --silent --show-error --fail")],
                    cwd=folder,
                    env=environment,
                    check=False,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                if done.returncode:
                    sys.exit(f"`{command}` ended with {done.returncode}:\n{done.stdout}")
                output = done.stdout.replace(f"{folder}/", "").splitlines()
            said.append((command, [part for line in output for part in folded(line)]))
    finally:
        if server is not None:
            server.terminate()
            server.wait()
    return said


def wait_for(address: str, seconds: float = 120.0) -> None:
    """Wait until an address answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def folded(line: str) -> list[str]:
    """Break a line as a terminal does."""
    return [line[i : i + COLUMNS] for i in range(0, len(line), COLUMNS)] or [""]


def timed(said: list[tuple[str, list[str]]]) -> tuple[list[Line], float]:
    """Give each line its time, and return the length of the whole, s."""
    lines, now = [], 0.6
    for command, output in said:
        seconds = len(command) * SECONDS_PER_KEY
        lines.append(Line(command, now, seconds))
        now += seconds + 0.5
        for text in output:
            lines.append(Line(text, now))
            now += SECONDS_PER_LINE
        now += SECONDS_TO_READ
    return lines, now + SECONDS_AT_THE_END


def draw(said: list[tuple[str, list[str]]]) -> str:
    """Draw a terminal in which the commands are typed and answered, as SVG."""
    lines, total = timed(said)
    styles, rows, scroll = [], [], ["0% { transform: translateY(0); }"]
    for i, line in enumerate(lines):
        begin, end = 100 * line.start / total, 100 * (line.start + line.seconds) / total
        y, text = round((i + 1) * LINE), html.escape(line.text)
        if line.seconds:
            styles += [
                appears(f"p{i}", max(begin - 1, 0), total),
                is_typed(f"k{i}", begin, end, len(line.text), total),
            ]
            rows.append(f'<text y="{y}" class="prompt p{i}">$</text>')
            rows.append(f'<text x="{2 * CELL:.1f}" y="{y}" class="typed k{i}">{text}</text>')
        elif text:
            styles.append(appears(f"k{i}", begin, total))
            kind = "verdict" if text.startswith(("Beats", "models:/")) else "said"
            rows.append(f'<text y="{y}" class="{kind} k{i}">{text}</text>')
        if i >= ROWS:
            scroll.append(f"{begin:.3f}% {{ transform: translateY({round((ROWS - i - 1) * LINE)}px); }}")
    end = f"transform: translateY({round((ROWS - len(lines)) * LINE)}px);"
    styles.append(f"@keyframes scroll {{ {' '.join(scroll)} 100% {{ {end} }} }}")
    width, height = round(COLUMNS * CELL + 2 * MARGIN), round(ROWS * LINE + 2 * MARGIN + 24)
    picture = FRAME.replace("WIDTH", f"{width}").replace("HEIGHT", f"{height}")
    picture = picture.replace("TEXT_W", f"{width - 2 * MARGIN:.0f}").replace(
        "TEXT_H", f"{ROWS * LINE + 6:.0f}"
    )
    picture = picture.replace("SECONDS", f"{total:.2f}s").replace("END", end)
    return picture.replace("STYLES", "\n".join(styles)).replace("ROWS", "\n".join(rows))


def appears(name: str, begin: float, total: float) -> str:
    """Style of a line that is there from a time on, given in percent of the whole."""
    frames = f"0% {{ opacity: 0; }} {begin:.3f}%, 100% {{ opacity: 1; }}"
    return f"@keyframes {name} {{ {frames} }} .{name} {{ animation: {name} {total:.2f}s step-end infinite; }}"


def is_typed(name: str, begin: float, end: float, letters: int, total: float) -> str:
    """Style of a line that is typed letter by letter between two times, in percent of the whole."""
    hidden = f"clip-path: inset(0 100% 0 0); animation-timing-function: steps({letters});"
    frames = f"0%, {begin:.3f}% {{ {hidden} }} {end:.3f}%, 100% {{ clip-path: inset(0); }}"
    return f"@keyframes {name} {{ {frames} }} .{name} {{ animation: {name} {total:.2f}s linear infinite; }}"


def main() -> None:
    """Run the commands and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        said = record(Path(folder))
    TARGET.write_text(draw(said), encoding="utf-8")
    print(
        f"{TARGET}: {sum(len(output) + 1 for _, output in said)} lines, {TARGET.stat().st_size / 1000:.0f} kB"
    )


if __name__ == "__main__":
    main()

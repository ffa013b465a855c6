"""Runs the pages of the gallery, and writes what their blocks of Python show below each of them.

    python docs/gallery.py [NAME ...]

A block whose last line is an expression shows its value: a figure as a PNG in docs/gallery/images, anything
else as text. The data come from the recipes; `STCONV_DATA_MIRROR` names a folder that has the files. Building
the documentation runs nothing: it needs neither data nor minutes, and a page reads the same on GitHub.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

GALLERY = Path(__file__).resolve().parent / "gallery"
_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?P<shown>\n(?:```text\n.*?^```\n|!\[[^\]]*\]\([^)]*\)\n))?", re.M | re.S
)

LATER = "A newer stconv may suggest another start or network, with other scores."
_TOOK = re.compile(r"^\*All of this page took .*\*$", re.M)


@dataclass(frozen=True)
class Shown:
    """What a block shows.

    Attributes:
        kind: "text", "picture" or "nothing".
        content: Text, or a figure of matplotlib.
    """

    kind: str
    content: Any = None


def run(page: str) -> Iterator[tuple[str, Shown]]:
    """Run the blocks of a page one after the other in the working folder, and iterate over what they show."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in _BLOCK.finditer(page):
        yield block["code"], _run_block(block["code"], names)


def shown_in(page: str) -> list[Shown]:
    """What the blocks of a page show, as it is written there; a picture by its path."""
    found = []
    for block in _BLOCK.finditer(page):
        text = (block["shown"] or "").strip()
        if text.startswith("```"):
            found.append(Shown("text", text.removeprefix("```text\n").removesuffix("\n```")))
        else:
            found.append(Shown("picture", text.rpartition("(")[2].rstrip(")")) if text else Shown("nothing"))
    return found


def write(page: Path) -> None:
    """Run a page, and replace what it shows, and the line that begins with "*All of this page took"."""
    name, text, started = page.stem, page.read_text(), time.monotonic()
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    for old in images.glob(f"{name}_*.png"):
        old.unlink()
    results = []
    for number, (code, shown) in enumerate(run(text), 1):
        results.append(_as_markdown(code, shown, images / f"{name}_{number}.png"))
    rest = iter(results)
    text = _BLOCK.sub(lambda block: f"```python\n{block['code']}```\n{next(rest)}", text)
    took = f"{time.monotonic() - started:.0f} s on {os.cpu_count()} processors, {date.today()}"
    page.write_text(_TOOK.sub(f"*All of this page took {took}. {LATER}*", text))


def _run_block(code: str, names: dict[str, Any]) -> Shown:
    tree = ast.parse(code)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "<page>", "exec"), names)
        return Shown("nothing")
    exec(compile(ast.Module(tree.body[:-1], []), "<page>", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "<page>", "eval"), names)
    if value is None:
        return Shown("nothing")
    return Shown("picture", value) if hasattr(value, "savefig") else Shown("text", _text(value))


def _text(value: Any) -> str:
    """A value as a terminal shows it, without the folders of this machine."""
    text = value if isinstance(value, str) else repr(value)
    for folder in (os.getcwd(), os.environ.get("STCONV_DATA_MIRROR", ""), str(Path.home())):
        text = text.replace(f"{folder}/", "") if folder else text
    return "\n".join(line.rstrip() for line in text.splitlines())


def _as_markdown(code: str, shown: Shown, image: Path) -> str:
    if shown.kind == "nothing":
        return ""
    if shown.kind == "text":
        return f"\n```text\n{shown.content}\n```\n"
    shown.content.savefig(image, dpi=70, bbox_inches="tight")
    title = re.match(r"# (.*)", code)
    return f"\n![{title[1] if title else image.stem}](images/{image.name})\n"


def main(names: list[str]) -> None:
    """Run and write the pages of these names, or all."""
    import matplotlib

    matplotlib.use("agg")
    for page in [GALLERY / f"{name}.md" for name in names] or sorted(GALLERY.glob("*.md")):
        before, started = os.getcwd(), time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
            write(page)
            os.chdir(before)
        print(f"{page.name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])

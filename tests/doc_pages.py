"""The pages of the documentation: their snippets of Python and their commands, in the order of a reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON, TERMINAL, SESSION, YAML = "python", "terminal", "session", "yaml"
PROGRAMS = ("stconv", "make", "pip", "curl", "mlflow", "docker", "python", "export")
"""First words of the commands that pages show."""
_LANGUAGES = {
    **dict.fromkeys(("python", "py", "{code-block} python"), PYTHON),
    **dict.fromkeys(("", "bash", "sh", "shell", "console", "{code-block} bash"), TERMINAL),
    **dict.fromkeys(("pycon",), SESSION),
    **dict.fromkeys(("yaml", "{code-block} yaml"), YAML),
}
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[^`\n]*)$")
_INLINE = re.compile(rf"(?<!`)`((?:{'|'.join(PROGRAMS)}) [^`]+)`(?!`)")


@dataclass(frozen=True)
class Snippet:
    """A block of a page.

    Attributes:
        page: File.
        line: Number of its first line.
        kind: PYTHON, TERMINAL, SESSION, YAML, or another language.
        text: Content, without indentation of the block as a whole.
    """

    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """Path of a page from the top."""
    return str(page.relative_to(ROOT))


def pages() -> list[Path]:
    """Pages with commands or code that a reader may repeat."""
    generated = {"_build", "reference"}
    docs = [page for page in ROOT.glob("docs/**/*.md") if not generated & set(page.parts)]
    return sorted([*(ROOT / page for page in ("README.md", "CONTRIBUTING.md", "configs/README.md")), *docs])


def snippets(page: Path) -> Iterator[Snippet]:
    """Iterate over the fenced blocks of a page, and the indented ones that hold commands."""
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        opened = _FENCE.match(line)
        if opened:
            content = []
            for _, inner in lines:
                if inner.strip() == opened["fence"]:
                    break
                content.append(inner.removeprefix(opened["indent"]))
            language = opened["language"].strip()
            yield Snippet(page, number + 1, _LANGUAGES.get(language, language), "\n".join(content) + "\n")
        elif line.startswith("    ") and line.split()[:1] and line.split()[0] in PROGRAMS:
            yield Snippet(page, number, TERMINAL, line.strip() + "\n")


def commands(snippet: Snippet) -> list[str]:
    """Commands of a block for the terminal; none if the block shows something else.

    A line may go on after a backslash. Where lines begin with `$`, the others are what is printed.
    """
    lines = snippet.text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    elif not any(line.split()[:1] and line.split()[0] in PROGRAMS for line in lines):
        return []
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def mentioned(page: Path) -> list[str]:
    """Commands in running text, which are not run but whose options have to exist."""
    text = re.sub(r"^( *)(`{3,}).*?^\1\2 *$", "", page.read_text(), flags=re.M | re.S)
    return [" ".join(found.split()) for found in _INLINE.findall(text)]

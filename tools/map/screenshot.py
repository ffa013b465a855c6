"""Makes docs/images/map.png, the picture of the map page in docs/how-to/map.md, from made fields.

    python tools/map/screenshot.py docs/images/map.png

The answers of the server are those of the tests of the page (tests/map_answers.py); it needs Chromium.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from map_answers import ADDRESS, answering, grids  # noqa: E402
from page_visit import CHROMIUM  # noqa: E402


def main(path: Path) -> None:
    """Draw the page with the forecast of a region."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.route("**/*", answering(grids()["region"]))
        page.goto(f"{ADDRESS}#place=48.1,11.6&map=47.5,9,1.7")
        page.wait_for_selector("#near:not(:empty)")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=path)
        browser.close()
    Image.open(path).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

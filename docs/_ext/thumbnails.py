"""Thumbnails of the gallery, drawn at their own size so that they can be read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.text import Text
from sphinx_gallery.scrapers import matplotlib_scraper

if TYPE_CHECKING:
    from sphinx.application import Sphinx

#: Pixels, at 100 an inch.
SIZE = (320, 224)
_FONT = 9


def scrape(block: Any, block_vars: dict[str, Any], conf: dict[str, Any]) -> str:
    """Save the figures of a block of code, as matplotlib's scraper does, and the thumbnail."""
    figures = [plt.figure(number) for number in plt.get_fignums()]
    page: str = matplotlib_scraper(block, block_vars, conf)
    if figures:
        draw(figures[0], drawn_for(Path(block_vars["target_file"])))
    return page


def drawn_for(script: Path) -> Path:
    """Return the file of the thumbnail of a script."""
    return script.parent / "images" / "drawn" / f"sphx_glr_{script.stem}_thumb.png"


def draw(figure: Any, path: Path) -> None:
    """Draw the first panel of a figure at the size of a thumbnail."""
    panels = [axes.get_subplotspec() for axes in figure.axes]
    # A colour bar has none, and belongs to the panel if there is one alone.
    several = len({*panels} - {None}) > 1
    kept = {panels[0]} if several else {*panels}
    for axes, panel in zip(figure.axes, panels, strict=True):
        if panel not in kept:
            axes.remove()
    if several:
        whole = figure.add_gridspec(1, 1)[0]
        for axes in figure.axes:
            axes.set_subplotspec(whole)
    figure.suptitle("")
    for text in figure.findobj(Text):
        text.set_fontsize(_FONT)
    figure.set_layout_engine("constrained")
    figure.set_size_inches(*(pixels / 100 for pixels in SIZE))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def place(app: Sphinx) -> None:
    """Put the thumbnails that were drawn in the place of those that sphinx-gallery scaled."""
    for thumbnail in (Path(app.srcdir) / "pictures/images/drawn").glob("*.png"):
        shutil.copy(thumbnail, thumbnail.parents[1] / "thumb" / thumbnail.name)

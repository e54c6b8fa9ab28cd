"""Configuration of the documentation site, which `make docs` builds."""

from __future__ import annotations

import os
import re
import socket
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import project as root_pages  # noqa: E402
import reference  # noqa: E402
import thumbnails  # noqa: E402

import fermiac  # noqa: E402

# With a backend from outside, the cells of tutorials would show no pictures.
os.environ.pop("MPLBACKEND", None)

reference.write(HERE / "reference")
root_pages.write(HERE / "project")

project = "fermiac"
author = "the fermiac developers"
copyright = author
version = release = fermiac.__version__
#: The address of the repository. Empty until there is one, which leaves the links to it out.
repository = os.environ.get("FERMIAC_REPOSITORY", "")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "_ext",
    "gallery",
    "recipes/*.patch",
    "pictures/*.ipynb",
    "pictures/*.py",
    "sg_execution_times.rst",
    "**.ipynb_checkpoints",
]
default_role = "py:obj"
nitpicky = True
# Single backquotes in docstrings also stand about arguments and attributes: names of fermiac must
# be found, others may be.
nitpick_ignore_regex = [("py:obj", r"(?!fermiac\.).*")]

autosummary_generate = False
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "cells")
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "text/html", 10), ("html", "image/png", 20)]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "pictures",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "min_reported_time": 10,
    "write_computation_times": False,
    "image_scrapers": (thumbnails.scrape,),
    "thumbnail_size": thumbnails.SIZE,
}
suppress_warnings = ["config.cache"]  # functions in the settings of sphinx-gallery


def reachable(host: str) -> bool:
    """Return whether a host answers, so that a build without a network does not fail."""
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError:
        return False
    return True


intersphinx_timeout = 10
intersphinx_mapping = {
    name: (f"https://{address}", None)
    for name, address in {
        "python": "docs.python.org/3/",
        "numpy": "numpy.org/doc/stable/",
        "scipy": "docs.scipy.org/doc/scipy/",
    }.items()
    if reachable(address.partition("/")[0])
}

html_theme = "pydata_sphinx_theme"
html_title = f"fermiac {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_depth": 3,
    "show_nav_level": 1,
    "header_links_before_dropdown": 8,
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    **({"github_url": repository} if repository else {}),
}
html_sidebars = {"index": [], "start": [], "choose": []}

# Figures of the gallery say what they show; a warning in one of them is an error.
warnings.filterwarnings("ignore", message=".*Agg.*cannot show")

#: A shape such as (n, *event), whose star would begin emphasis.
STAR = re.compile(r"\((\w+), \*(\w+)\)")


def mark_up(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Make links of the numbers of papers in a docstring, and escape the stars of shapes."""
    for index, line in enumerate(lines):
        line = STAR.sub(r"(\1, \\*\2)", line)
        line = root_pages.DOI.sub(r"`doi:\1 <https://doi.org/\1>`__", line)
        lines[index] = root_pages.ARXIV.sub(r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", line)


def without_macros(app: Sphinx, exception: Exception | None) -> None:
    """Leave a template of the theme out of the site, whose links lead nowhere."""
    (Path(app.outdir) / "_static" / "webpack-macros.html").unlink(missing_ok=True)


def setup(app: Sphinx) -> None:
    """Register what this site adds to Sphinx."""
    app.connect("autodoc-process-docstring", mark_up, priority=900)
    # sphinx-gallery makes its pages at the same event, with the usual priority of 500.
    app.connect("builder-inited", thumbnails.place, priority=900)
    app.connect("build-finished", without_macros)

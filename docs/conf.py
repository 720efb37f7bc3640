"""How Sphinx builds the site: ``make docs`` writes it to ``build/docs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

import nas

project = "nas"
author = "the nas maintainers"
project_copyright = f"2026, {author}"
version = release = nas.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "nas_protocols",
    "nas_reference",
    "nas_search",
]
exclude_patterns = ["extensions/**", "optunahub/**"]
smartquotes = False

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_maximum_signature_line_length = 110
autodoc_typehints_format = "short"
napoleon_use_ivar = True
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"nas {release}"
html_static_path = ["static"]
html_css_files = ["tables.css", "copy.css"]
html_js_files = ["copy.js"]
html_search_scorer = str(Path(__file__).parent / "static" / "search_scores.js")
html_copy_source = False
html_show_sourcelink = False

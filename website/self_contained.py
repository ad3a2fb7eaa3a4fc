"""No page of the site may load anything from elsewhere: it is to be read offline, and tells nobody who reads it."""

import re
from typing import Any

LOADS = re.compile(
    r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*?\b(?:src|href|data)\s*=\s*[\"']?((?:https?:)?//[^\"'\s>]*)"
)


def loaded_from_elsewhere(html: str) -> list[str]:
    """Lists the addresses that a browser would fetch scripts, styles, pictures or frames from; other links do not count."""
    return LOADS.findall(html)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Is called by mkdocs with every finished page. Errors: `ValueError` with the page and what it would load."""
    found = loaded_from_elsewhere(output)
    if found:
        raise ValueError(f"{page.file.src_uri} would load {', '.join(found)}; keep it in docs/ or leave it out")
    return output

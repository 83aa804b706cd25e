"""What `mkdocs build` does beside the pages: notebooks, mathematics, and a look for requests that leave the site."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
OUTSIDE = re.compile(r"(https?:)?//")
IN_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")
READ_AT_ONCE = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest"}


def on_files(files: Files, config: Any) -> Files:
    """Add every notebook as a page, with the outputs that are stored in it."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        names = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
        text, resources = MarkdownExporter().from_filename(str(path), names)
        text = text.replace("](../docs/", "](../")
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in resources["outputs"].items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_content(text: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw without a script."""

    def mathml(found: re.Match[str]) -> str:
        return convert(html.unescape(found[2]), display="inline" if found[1] == "span" else "block")

    return FORMULA.sub(mathml, text)


def on_post_build(config: Any) -> None:
    """Refuse a site that would ask another host for anything when it is opened.

    Raises:
        PluginError: a page or a style sheet does; it names the first few.
    """
    site = Path(config.site_dir)
    asked = [
        f"{path.relative_to(site)}: {address}"
        for ending, find in ((".html", requests_of_page), (".css", IN_CSS.findall))
        for path in sorted(site.rglob(f"*{ending}"))
        for address in find(path.read_text(encoding="utf-8"))
    ]
    if asked:
        raise PluginError(f"{len(asked)} requests leave the site: {'; '.join(asked[:5])}")


def requests_of_page(text: str) -> list[str]:
    """Addresses on other hosts that a browser asks for when it opens a page; links to follow are none."""
    seen = _Requests()
    seen.feed(text)
    return seen.addresses


class _Requests(HTMLParser):
    """Collects them from tags and from styles."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        given = {name: value or "" for name, value in attrs}
        asked = [given.get("src", ""), given.get("poster", ""), given.get("data", "") if tag == "object" else ""]
        asked += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        if tag == "link" and READ_AT_ONCE & set(given.get("rel", "").split()):
            asked.append(given.get("href", ""))
        self.addresses += [address for address in asked if OUTSIDE.match(address)]
        self.addresses += IN_CSS.findall(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Look at the text between tags, which may be a style."""
        if self.cdata_elem == "style":
            self.addresses += IN_CSS.findall(data)

"""The pages of the site: links lead somewhere, blocks are what happens, what is generated is up to date."""

import inspect
import re
import runpy
import shlex
from pathlib import Path

import pytest
from pages import blocks, commands, same_but_for_digests, says_otherwise

from sapo_analysis.cli import main as analysis
from sapo_gates import FAMILIES, load_gate
from sapo_gates.cli import main as gates
from sapo_gates.datasheet import datasheet
from sapo_train.cli import main as train

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = {DOCS / "gallery", DOCS / "notebooks"}
PROGRAMS = {"sapo-gates": gates, "sapo-analysis": analysis, "sapo-train": train}
PARABOLA = '[gate]\nname = "parabola"\nvalue = "r**2/2"\n'
COMMITTED = [path for path in sorted(DOCS.rglob("*.md")) if not GENERATED & set(path.parents)]


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of a page that lead to no file."""
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL))
    return [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", [*COMMITTED, ROOT / "CHANGELOG.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    assert not broken_links(page, page.read_text(encoding="utf-8"))


def test_a_link_to_nothing_is_seen() -> None:
    assert broken_links(DOCS / "index.md", "[a](concepts.md#x) [b](nowhere.md) `[c](code)`") == ["nowhere.md"]


@pytest.mark.parametrize("page", ["index.md", "training.md"])
def test_every_command_prints_what_the_page_shows(page, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parabola.toml").write_text(PARABOLA, encoding="utf-8")
    shown = [(shlex.split(command), output) for command, output in commands(text_of(page))]
    ours = [(words, output) for words, output in shown if words[0] in PROGRAMS]
    assert len(ours) >= 3
    for (program, *arguments), output in ours:
        code = PROGRAMS[program](arguments)
        said = capsys.readouterr()
        assert same_but_for_digests(said.out if code == 0 else said.err, output), (arguments, said)


def test_the_lines_of_python_give_what_the_concepts_show() -> None:
    assert not (said := says_otherwise("\n".join(blocks(text_of("concepts.md"), "python")))), said


def test_a_page_that_shows_something_else_is_seen() -> None:
    assert says_otherwise(">>> 1 + 1\n3\n")
    assert not same_but_for_digests("certified\n", "refuted\n")
    assert same_but_for_digests(f"sha256:{'0' * 64} 0.25\n", f"sha256:{'1' * 64} ...\n")


def test_the_recipe_of_the_guide_lies_on_a_recipe_that_ships(tmp_path, monkeypatch) -> None:
    from sapo_train.config import build, load_recipe
    from sapo_train.run import RunConfig

    (recipe,) = blocks(text_of("training.md"), "yaml")
    (tmp_path / "mine.yaml").write_text(recipe, encoding="utf-8")
    assert build(RunConfig, load_recipe(str(tmp_path / "mine.yaml"))).steps == load_recipe("demo.yaml")["steps"]


def test_the_page_of_fields_is_what_the_dataclasses_make() -> None:
    made = runpy.run_path(str(DOCS / "make_configuration.py"))["page"]()
    assert text_of("configuration.md") == made, "run docs/make_configuration.py"


def test_the_concepts_name_every_entry_of_the_datasheet() -> None:
    names = re.findall(r"^\| ([a-z ,]+) \|", text_of("concepts.md"), re.MULTILINE)
    explained = set()
    for name in names:
        first, *others = name.split(", ")
        explained |= {first, *(f"{first.rsplit(' ', len(other.split()))[0]} {other}" for other in others)}
    assert {entry.replace("_", " ") for entry in datasheet("erf")["positive"]} <= explained


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    """The pages of gates that are refuted in part: declared by their value, and by their score weight."""
    folder = tmp_path_factory.mktemp("gallery")
    write = runpy.run_path(str(DOCS / "make_gallery.py"))["write"]
    write(folder, [load_gate(name) for name in ("hard-clip", "vespo")])
    return folder


def test_the_page_of_a_family_has_verdicts_counterexample_numbers_and_source(gallery: Path) -> None:
    page = (gallery / "hard-clip.md").read_text(encoding="utf-8")
    gate = load_gate("hard-clip")
    assert gate.text in page
    assert gate.source in page
    assert "[unit-peak](../requirements.md#unit-peak) | ✓ proved | ✓ proved |" in page
    assert "[vanishing-score](../requirements.md#vanishing-score) | ✓ proved | ✗ refuted |" in page
    assert "w jumps: from 1.00000 to 0 at r = 6/5; a jump at r = 6/5, epsilon = 1/5" in page
    low, high = datasheet(gate)["positive"]["half_width_right"]["enclosure"]
    assert f"{low}, {high}" in page


@pytest.mark.parametrize("name", ["hard-clip", "vespo"])
def test_the_gallery_leads_to_the_page_of_a_family_with_its_pictures(name: str, gallery: Path) -> None:
    index = (gallery / "index.md").read_text(encoding="utf-8")
    assert f"[{name}]({name}.md)" in index
    assert f"![weight of {name}]({name}-small.png)" in index
    assert f"]({name}.svg)" in (gallery / f"{name}.md").read_text(encoding="utf-8")
    assert (gallery / f"{name}.svg").stat().st_size > 10_000
    assert (gallery / f"{name}-small.png").stat().st_size > 1_000


def test_the_gallery_is_of_all_families() -> None:
    write = runpy.run_path(str(DOCS / "make_gallery.py"))["write"]
    assert inspect.signature(write).parameters["gates"].default == FAMILIES
    assert len(FAMILIES) == 39


def test_a_request_to_another_host_is_seen_and_a_link_is_none() -> None:
    found = runpy.run_path(str(DOCS / "hooks.py"))["requests_of_page"]
    assert (
        found('<a href="https://arxiv.org/abs/1">x</a><link rel="canonical" href="https://here"><img src="a.png">')
        == []
    )
    planted = {
        '<script src="https://cdn/x.js"></script>': "https://cdn/x.js",
        '<link rel="stylesheet" href="//fonts/css">': "//fonts/css",
        '<img src="a.png" srcset="a.png 1x, https://cdn/b.png 2x">': "https://cdn/b.png",
        '<p style="background: url(https://cdn/c.png)">': "https://cdn/c.png",
        "<style>@import 'https://cdn/d.css';</style>": "https://cdn/d.css",
    }
    for page, address in planted.items():
        assert found(page) == [address]


def test_a_formula_becomes_mathml() -> None:
    page = runpy.run_path(str(DOCS / "hooks.py"))["on_page_content"]
    made = page('<p><span class="arithmatex">\\(w &lt; \\frac12\\)</span></p>')
    assert "<math" in made
    assert "<mfrac>" in made
    assert "arithmatex" not in made


def test_the_site_shows_every_notebook() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{path.stem}.md" in text

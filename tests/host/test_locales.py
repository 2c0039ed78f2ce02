"""Labels and tooltips say what the schemas say in every language, help pages in English and in Chinese."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.locales import ENGLISH, LOCALES, as_text, node_definitions

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "web" / "docs"

DEFINITIONS = {
    language: json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))
    for language in ("en", "zh")
}
NODE_IDS = sorted(DEFINITIONS["en"])
LANGUAGES = list(DEFINITIONS)
TRANSLATIONS = ["de", "es", "fr", "ja", "ko", "ru", "zh"]
FILES = ["nodeDefs.json", "main.json"]
HEADINGS = {
    "en": ["Inputs", "Outputs", "Wiring", "Tips", "Errors"],
    "zh": ["输入", "输出", "接线", "提示", "错误信息"],
}
WORDS = {
    "en": {"range": "{} to {}", "default": "default {}", "optional": "optional"},
    "zh": {"range": "{} 到 {}", "default": "默认 {}", "optional": "可选"},
}

CHINESE = re.compile(r"[\u4e00-\u9fff]")
SAME_IN_CHINESE = {"CLIP"}
# What the page's translator (vue-i18n) would read as an instruction.
MESSAGE_SYNTAX = re.compile(r"[{}@|]")
FILLED_IN = re.compile(r"`[^`]+`|\{\w+\}|models/[a-z]+|\w+put/dynamicid/faces")
LINK = re.compile(r"https?://[^\s)>]+")
RAW_HTML = re.compile(r"<[a-zA-Z/!]")
IN_CODE = re.compile(r"(`+)(.+?)\1")
# Lists and no tables: a table is wider than the page's help panel, and is cut there.
ITEM = re.compile(r"- (`.+?`[^`]*?)(?:: |\uff1a)(.+)")
# Their options are the files and devices of the machine.
COMBOS_OF_THE_MACHINE = {"saa", "imr", "pack", "provider", "name"}

on_every_page = pytest.mark.parametrize(("node_id", "language"), [(n, lang) for n in NODE_IDS for lang in LANGUAGES])


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """(path of keys, text) of every text."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def page_path(node_id: str, language: str) -> Path:
    """Where the host looks: the language's own page, else the one beside the folder."""
    return DOCS / f"{node_id}.md" if language == "en" else DOCS / node_id / f"{language}.md"


def read_page(node_id: str, language: str) -> str:
    return page_path(node_id, language).read_text(encoding="utf-8")


def entries(node_id: str, language: str, position: int) -> list[list[str]]:
    """The list under the heading at `position`: subject, text and, where there is one, sub-item."""
    section = re.split(r"^## .*$", read_page(node_id, language), flags=re.MULTILINE)[position + 1]
    found: list[list[str]] = []
    for line in section.splitlines():
        if item := ITEM.fullmatch(line):
            found.append(list(item.groups()))
        elif line.startswith("  - "):
            found[-1].append(line.removeprefix("  - "))
    return found


def in_code(text: str) -> list[str]:
    """What stands in back-ticks."""
    return [found for _, found in IN_CODE.findall(text)]


def input_cells(node_id: str, language: str) -> dict[str, list[str]]:
    """Input id -> its entry; several ids may share one."""
    return {name: entry for entry in entries(node_id, language, 0) for name in in_code(entry[0])}


def templates() -> Iterator[str]:
    """Every string in the core, with "…" for what is filled in at run time; docstrings left out."""
    for path in (ROOT / "dynamicid").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Expr):
                continue
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in child.values)
                elif isinstance(child, ast.Constant) and isinstance(child.value, str):
                    yield child.value


@pytest.fixture(scope="module")
def error_templates() -> str:
    return "\n".join(text.replace("\n", " ") for text in templates())


def test_english_is_what_the_schemas_say(pack: Any) -> None:
    expected = as_text(node_definitions(pack.nodes.values()))
    assert ENGLISH.read_text(encoding="utf-8") == expected, "run scripts/locales.py, then translate what changed"


def test_there_is_a_folder_for_each_language_and_no_other() -> None:
    assert sorted(path.name for path in LOCALES.iterdir()) == sorted(["en", *TRANSLATIONS])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("language", TRANSLATIONS)
def test_each_translation_has_the_keys_of_english_and_the_same_names_in_its_texts(language: str, name: str) -> None:
    english, other = (
        dict(leaves(json.loads((LOCALES / folder / name).read_text(encoding="utf-8")))) for folder in ("en", language)
    )
    assert list(other) == list(english)
    for path, text in other.items():
        assert text.strip(), path
        assert sorted(set(FILLED_IN.findall(text))) == sorted(set(FILLED_IN.findall(english[path]))), path


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_no_tooltip_is_left_in_english(language: str) -> None:
    other = dict(leaves(json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))))
    english = dict(leaves(DEFINITIONS["en"]))
    assert not [path for path, text in other.items() if path[-1] != "name" and text == english[path]]


def test_chinese_is_chinese() -> None:
    untranslated = {path: text for path, text in leaves(DEFINITIONS["zh"]) if not CHINESE.search(text)}
    assert set(untranslated.values()) <= SAME_IN_CHINESE, untranslated


@pytest.mark.parametrize("language", ["en", *TRANSLATIONS])
def test_no_text_is_read_as_an_instruction(language: str) -> None:
    definitions = json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))
    assert not {path: text for path, text in leaves(definitions) if MESSAGE_SYNTAX.search(text)}


def test_there_is_a_page_for_every_node_and_for_nothing_else(pack: Any) -> None:
    expected = {page_path(node_id, language) for node_id in pack.nodes for language in LANGUAGES}
    assert set(DOCS.rglob("*.md")) == expected


@on_every_page
def test_page_has_the_title_and_the_headings(node_id: str, language: str) -> None:
    page = read_page(node_id, language)
    assert page.splitlines()[0] == f"# {DEFINITIONS[language][node_id]['display_name']}"
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == HEADINGS[language]


@on_every_page
def test_page_names_the_inputs_of_the_schema(pack: Any, node_id: str, language: str) -> None:
    named = [name for row in entries(node_id, language, 0) for name in in_code(row[0])]
    assert named == [entry.id for entry in pack.nodes[node_id].GET_SCHEMA().inputs]


@on_every_page
def test_page_names_the_outputs_of_the_schema(pack: Any, node_id: str, language: str) -> None:
    named = [name for row in entries(node_id, language, 1) for name in in_code(row[0])]
    assert named == [entry.display_name for entry in pack.nodes[node_id].GET_SCHEMA().outputs]


@on_every_page
def test_page_gives_the_values_of_the_schema(pack: Any, node_id: str, language: str) -> None:
    words, cells = WORDS[language], input_cells(node_id, language)
    for entry in pack.nodes[node_id].GET_SCHEMA().inputs:
        values = cells[entry.id][2]
        assert (words["optional"] in values) == bool(entry.optional), entry.id
        if getattr(entry, "max", None) is not None:
            assert values.startswith(words["range"].format(f"{entry.min:g}", f"{entry.max:g}")), entry.id
            assert words["default"].format(f"{entry.default:g}") in values, entry.id
        if getattr(entry, "options", None) and entry.id not in COMBOS_OF_THE_MACHINE:
            assert set(entry.options) <= set(in_code(values)), entry.id


@pytest.mark.parametrize("node_id", NODE_IDS)
def test_chinese_page_uses_the_labels_on_the_node(node_id: str) -> None:
    definition = DEFINITIONS["zh"][node_id]
    labels = {name: entry["name"] for name, entry in definition["inputs"].items()}
    for row in entries(node_id, "zh", 0):
        names = in_code(row[0])
        if len(names) == 1:
            assert row[0] == f"`{names[0]}` {labels[names[0]]}"
    for row, entry in zip(entries(node_id, "zh", 1), definition["outputs"].values(), strict=True):
        assert row[0].endswith(f"` {entry['name']}")


@on_every_page
def test_page_quotes_messages_that_the_code_has(error_templates: str, node_id: str, language: str) -> None:
    messages = [in_code(row[0])[0] for row in entries(node_id, language, 4)]
    assert messages == [in_code(row[0])[0] for row in entries(node_id, "en", 4)]
    for message in messages:
        pattern = "[^\n]*".join(re.escape(part) for part in message.split("…"))
        assert re.search(pattern, error_templates), message


@on_every_page
def test_page_has_no_html_no_pictures_and_no_links_but_the_readmes(node_id: str, language: str) -> None:
    page = read_page(node_id, language)
    assert not RAW_HTML.search(page)
    assert "![" not in page
    assert set(LINK.findall(page)) <= set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))

"""The sentences of a Markdown text, as plain text fit to be quoted.

Table rows and list items become sentences of their own. Code blocks are left out, but for a short one that
the line above it introduces with a colon: there the code is the answer.
"""

import re
from collections.abc import Iterator

QUOTED_CODE_LINES = 3

_FENCED = re.compile(
    r"\s*^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)
_CODE = re.compile(r"(?<!`)(`+)(?!`)([^\n]+?(?:\n[^\n]+?)*?)(?<!`)\1(?!`)")
# Code spans wait as one character of the private use area each, so that no rule for prose touches them.
_FIRST_MASK, _LAST_MASK = 0xE000, 0xF8FF
_MASK = f"{chr(_FIRST_MASK)}-{chr(_LAST_MASK)}"

_QUOTE = re.compile(r"\s*>+\s?")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?")
_NOT_PROSE = re.compile(r"\s*(?:#{1,6}\s|\[[^\]]+\]:\s|(?:[-*_]\s*){3,}$|={3,}$)")
_TABLE_RULE = re.compile(r"\|?[\s:|-]*-[\s:|-]*\|[\s:|-]*$")
_ROW_NUMBER = re.compile(r"(?:\d+|#)\.?$")
_PLAIN = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"</?[a-zA-Z][^<>]*>"), ""),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", re.DOTALL), r"\2"),
    (re.compile(r"(?<![\w*])([*_])(?=[^\s*_])([^*_]+?)(?<=\S)\1(?![\w*])"), r"\2"),
)
_END = re.compile(rf"(?<=[.!?])[\"')”]*\s+(?=[\"'(“\[]?[A-Z0-9{_MASK}])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|no|fig|approx|resp)|\b[A-Z])\.[\"')”]*$")


def split_sentences(markdown: str) -> list[str]:
    """The sentences of ``markdown`` in order, without headings and markup; code spans stay as they are."""
    spans: list[str] = []

    def mask(span: re.Match[str]) -> str:
        if _FIRST_MASK + len(spans) > _LAST_MASK:
            return span[0]
        spans.append(" ".join(span[0].split()))
        return chr(_FIRST_MASK + len(spans) - 1)

    masked = _CODE.sub(mask, _FENCED.sub(_short_code, re.sub(f"[{_MASK}]", "", markdown)))
    for pattern, replacement in _PLAIN:
        masked = pattern.sub(replacement, masked)
    return [
        re.sub(f"[{_MASK}]", lambda code: spans[ord(code[0]) - _FIRST_MASK], sentence)
        for block in _blocks(masked.splitlines())
        for sentence in _prose_sentences(" ".join(block.split()))
    ]


def _short_code(fenced: re.Match[str]) -> str:
    code = [line.strip() for line in fenced[2].splitlines() if line.strip()]
    introduced = fenced.string[: fenced.start()].endswith(":")
    quotable = introduced and 0 < len(code) <= QUOTED_CODE_LINES
    return f" `{'; '.join(code)}`\n\n" if quotable else "\n\n"


def _blocks(lines: list[str]) -> Iterator[str]:
    """Paragraphs, list items and table rows, each as one string."""
    block: list[str] = []
    for number, line in enumerate(lines):
        text = _without(_QUOTE, line)
        is_row = text.lstrip().startswith("|")
        is_prose = bool(text.strip()) and not is_row and not _NOT_PROSE.match(text)
        if block and (not is_prose or _ITEM.match(text)):
            yield " ".join(block)
            block = []
        if is_row:
            yield _row(text, lines[number + 1 : number + 2])
        elif is_prose:
            block.append(_without(_ITEM, text))
    if block:
        yield " ".join(block)


def _without(opening: re.Pattern[str], text: str) -> str:
    found = opening.match(text)
    return text[found.end() :] if found else text


def _row(line: str, following: list[str]) -> str:
    """A table row as ``first cell: second; third``; nothing for rules and headers, nor for row numbers."""
    if _TABLE_RULE.match(line) or any(_TABLE_RULE.match(after) for after in following):
        return ""
    cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
    if len(cells) > 2 and _ROW_NUMBER.match(cells[0]):
        cells = cells[1:]
    first, *rest = [cell for cell in cells if cell] or [""]
    return f"{first}: {'; '.join(rest)}" if rest else first


def _prose_sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        piece = text[start : end.end()].strip()
        inside_brackets = piece.count("(") > piece.count(")")
        if inside_brackets or _ABBREVIATION.search(piece):
            continue
        yield piece
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip()

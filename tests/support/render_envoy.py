"""`python -m tests.support.render_envoy`: writes docs/coming-from-envoy.md from the list of differences.

tests/differential/test_envoy.py holds the page to the list, and the list to both gateways.
"""

import json
from pathlib import Path

from tests.support.envoy_differences import Case, Corpus, read_corpus

__all__ = ["PAGE", "render_envoy"]

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-envoy.md"
_MOST_EXAMPLES = 4
_MOST_CHARS = 150

_HEAD = Path(__file__).parents[1] / "differential" / "envoy_page.md"


def render_envoy(corpus: Corpus) -> str:
    """The page as it should be."""
    differing = [case for case in corpus.rows if case.differs]
    count, alike = len(corpus.rows), len(corpus.rows) - len(differing)
    head = _HEAD.read_text(encoding="utf-8")
    parts = [head.replace("{count}", str(count)).replace("{alike}", str(alike))]
    for name, reason in corpus.reasons.items():
        examples = [case for case in differing if case.differs == name][:_MOST_EXAMPLES]
        lines = [
            f"### {reason.title}",
            "",
            reason.text,
            "",
            "| request | Envoy | here |",
            "|---|---|---|",
        ]
        lines += [
            f"| {_request(case)} | {_cell(case.envoy)} | {_cell(case.ours)} |" for case in examples
        ]
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def _request(case: Case) -> str:
    """The request, and what the service is told to say."""
    shown = _cell(case.send)
    if case.headers and case.headers != ["Content-Type: application/json"]:
        shown += f" {_cell(', '.join(case.headers))}"
    if case.body:
        shown += f" {_cell(case.body)}"
    if case.answer:
        shown += f"; the service: {_cell(json.dumps(case.answer, ensure_ascii=False))}"
    return shown


def _cell(text: str) -> str:
    """As code in a table."""
    text = text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}.."
    bare = text.replace("\n", "\\n").replace("\t", "\\t").replace("|", "\\|")
    return f"`` {bare} ``" if "`" in bare else f"`{bare}`"


if __name__ == "__main__":
    PAGE.write_text(render_envoy(read_corpus()), encoding="utf-8")

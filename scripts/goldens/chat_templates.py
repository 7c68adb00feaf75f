"""Writes Tests/TokenizersTests/Fixtures/chat_templates.json.

The oracle is the renderer of transformers (jinja2's ImmutableSandboxedEnvironment with its
extensions and globals). Every template here is written for this file. For every template and
every conversation it is paired with, the fixture holds the text, or null where rendering raises,
and the UTF-8 ranges of generation blocks.

usage: python scripts/goldens/chat_templates.py [OUTPUT]
"""

import datetime
import json
import os
import sys

import jinja2
import transformers
from transformers.utils import chat_template_utils

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat_templates"))
from conversations import CONVERSATIONS  # noqa: E402
from expressions import EXPRESSIONS  # noqa: E402
from templates import TEMPLATES  # noqa: E402

NOW = datetime.datetime(2024, 7, 9, 8, 5, 3, 42)


class FrozenTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = FrozenTime


def render(source, conversation):
    """The text and the spans in bytes, or None when anything raises."""
    try:
        messages = [
            {key: value for key, value in message.items() if value is not None}
            for message in conversation["messages"]
        ]
        texts, indices = chat_template_utils.render_jinja_template(
            conversations=[messages],
            tools=conversation.get("tools"),
            chat_template=source,
            add_generation_prompt=conversation.get("add_generation_prompt", False),
            return_assistant_tokens_mask=True,
            **{**conversation.get("special", {}), **conversation.get("variables", {})},
        )
        text = texts[0]
        text.encode("utf-8")
    except Exception as error:
        return None, None, f"{type(error).__name__}: {error}"
    spans = []
    for start, end in indices[0]:
        if end > start:
            spans.append([len(text[:start].encode("utf-8")), len(text[:end].encode("utf-8"))])
    return text, spans, None


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    default = os.path.join(here, "../../Tests/TokenizersTests/Fixtures/chat_templates.json")
    output = sys.argv[1] if len(sys.argv) > 1 else default
    cases = []
    for name, source in TEMPLATES.items():
        for conversation in CONVERSATIONS:
            cases.append((name, source, conversation))
    for group, sources in EXPRESSIONS.items():
        for source in sources:
            cases.append((group, source, "plain"))
    written = []
    for name, source, conversation in cases:
        text, spans, error = render(source, CONVERSATIONS[conversation])
        if text is not None and " at 0x" in text:
            raise SystemExit(f"{name}: the text of {source!r} has an address in it")
        case = {"name": name, "conversation": conversation, "expected": text}
        if spans:
            case["spans"] = spans
        if "-v" in sys.argv and error:
            print(f"{source!r}: {error}")
        written.append((source, case))
    templates = list(dict.fromkeys(source for source, _ in written))
    numbers = {source: number for number, source in enumerate(templates)}
    fixture = {
        "generator": f"jinja2 {jinja2.__version__}, transformers {transformers.__version__}",
        "now": NOW.isoformat(),
        "conversations": CONVERSATIONS,
        "templates": templates,
        "cases": [{"template": numbers[source], **case} for source, case in written],
    }
    os.makedirs(os.path.dirname(output), exist_ok=True)
    with open(output, "w", encoding="utf-8") as file:
        # One case per line keeps changes readable.
        head = {key: value for key, value in fixture.items() if key != "cases"}
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": [\n')
        file.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in fixture["cases"]))
        file.write("\n]}\n")
    raising = sum(case["expected"] is None for case in fixture["cases"])
    print(f"{len(templates)} templates, {len(written)} cases, {raising} of them raise")


main()

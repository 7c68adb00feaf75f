"""Which of several chat templates serves: `graft data render` against transformers' apply_chat_template."""

import json
import shutil

from peers import folder
from transformers import AutoTokenizer

USUAL, TOOLS, OTHER = "usual {{ messages[-1].content }}", "{{ tools | length }} tools", "other {{ messages | length }}"
ROWS = [
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function", "function": {"name": "now"}}]},
]
LISTED = [{"name": "default", "template": USUAL}, {"name": "tool_use", "template": TOOLS},
          {"name": "other", "template": OTHER}]
# Name, template of tokenizer_config.json, files beside it, the name that is asked for.
CASES = [
    ("one in the configuration", USUAL, {}, None),
    ("a list", LISTED, {}, None),
    ("a list, by name", LISTED, {}, "other"),
    ("a list without a default", LISTED[1:], {}, None),
    ("a list without tools' one", [LISTED[0], LISTED[2]], {}, None),
    ("a file before the configuration", OTHER, {"chat_template.jinja": USUAL}, None),
    ("a file before a list", LISTED, {"chat_template.jinja": OTHER}, None),
    ("a folder", None, {"chat_template.jinja": USUAL, "additional_chat_templates/tool_use.jinja": TOOLS}, None),
    ("a folder, by name", USUAL, {"chat_template.jinja": USUAL, "additional_chat_templates/other.jinja": OTHER}, "other"),
    ("a folder alone before a list", LISTED, {"additional_chat_templates/tool_use.jinja": "mine"}, None),
    ("a name that is not there", LISTED, {}, "nothing"),
]


def expected(tokenizer, row, name):
    """The text, or None where transformers refuses. A name that it does not know is a template to it."""
    known = tokenizer.chat_template if isinstance(tokenizer.chat_template, dict) else {"default": 0}
    if name is not None and name not in known:
        return None
    try:
        return tokenizer.apply_chat_template(row["messages"], tools=row.get("tools"), chat_template=name, tokenize=False)
    except ValueError:
        return None


def compare(report, options, label, template, files, name):
    model = folder(options, f"choice {label}")
    model.mkdir(parents=True)
    shutil.copy(options.smollm2 / "tokenizer.json", model)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"} | ({"chat_template": template} if template else {})
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    (model / "config.json").write_text("{}")
    for path, text in files.items():
        (model / path).parent.mkdir(exist_ok=True)
        (model / path).write_text(text)
    tokenizer = AutoTokenizer.from_pretrained(model)
    (model / "config.json").unlink()
    for number, row in enumerate(ROWS):
        data = model / "rows.jsonl"
        data.write_text(json.dumps(row) + "\n")
        words = ["data", "render", "--model", model, "--data", data, "--json"]
        done = options.graft.run(*words, *(["--chat-template-name", name] if name else []), expect=None)
        found = json.loads(done.stdout)["rows"][0].get("text") if done.stdout else None
        wanted = expected(tokenizer, row, name)
        report.line(found == wanted and (done.returncode == 0) == (wanted is not None),
                    f"{label}, {'tools' if number else 'no tools'}", f"{found!r}, transformers {wanted!r}")


def check(report, options):
    for case in CASES:
        report.case(case[0], compare, report, options, *case)

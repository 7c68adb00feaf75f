#!/usr/bin/env python3
"""LoRA on every decoder family both ways between PEFT and graft: loss, logits, gradients, merging.

Each tiny checkpoint gets PEFT's own choice of modules and all linear layers; where PEFT has no choice for a family,
graft must say so too. One checkpoint of each family is trained by graft and read by PEFT.
"""

import json
import warnings

from adapter_checks import from_graft, from_peft
from peers import TINY, Report, arguments, folder, load_model, save_tiny, tiny_with_tokenizer, completion_rows, write_rows
from peft import LoraConfig, get_peft_model

TARGETS = [("PEFT's targets", None), ("all-linear", "all-linear")]


def lora(targets):
    return LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM")


def has_targets(base):
    """Whether PEFT has modules of its own for the family."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            get_peft_model(load_model(base), lora(None))
        return True
    except ValueError as error:
        assert "target_modules" in str(error), error
        return False


def refused(report, options, name):
    """graft without targets on a family that PEFT knows none for."""
    work = folder(options, f"refused {name}")
    base = tiny_with_tokenizer(work / "base", options.smollm2, name)
    (work / "lora.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "target_modules": None}))
    data = write_rows(work / "rows.jsonl", completion_rows(2))
    done = options.graft.run("train", "--model", base, "--data", data, "--output", work / "run", "--max-steps", 1,
                             "--adapter-config", work / "lora.json", "--adapter-fields", '{"target_modules": null}',
                             "--max-length", 64, expect=None)
    ok = done.returncode in (64, 65) and "target_modules" in done.stderr.replace("target-modules", "target_modules")
    report.line(ok, f"no targets, {name}", f"exit {done.returncode}: {done.stderr.strip()[-200:]}")


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--only", help="names of TINY, with commas between"))
    report = Report("family_adapters")
    chosen = [name for name in TINY if not options.only or name in options.only.split(",")]
    families = {}
    for name in chosen:
        base = save_tiny(name, options.work / "bases" / name)
        family = TINY[name][0]
        known = report.case(f"targets of {name}", has_targets, base)
        for words, targets in TARGETS:
            if targets is None and not known:
                if family not in families:
                    report.case(f"no targets, {name}", refused, report, options, name)
                continue
            label = f"{words}, {name}"
            report.case(label, from_peft, report, options, label, base, lora(targets), 0.1)
        families.setdefault(family, name)
    for family, name in families.items():
        base = tiny_with_tokenizer(options.work / "text" / family, options.smollm2, name)
        label = f"trained by graft, {name}"
        report.case(label, from_graft, report, options, label, base, 1e-2,
                    ["--rank", 4, "--alpha", 8, "--target-modules", "all-linear"])
    report.finish()


if __name__ == "__main__":
    main()

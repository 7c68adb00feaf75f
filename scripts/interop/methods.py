#!/usr/bin/env python3
"""Adapters of every method, both ways between PEFT and graft.

Each file of method_cases has CASES: label -> dict(config=..., and where it is not as usual bases=[...],
scale=..., rate=..., merges=..., trained_merges=... of what graft trained, trains=False, opens=False where
PEFT cannot open its own file again, repeated=[tensors that PEFT writes again for each layer, or that graft
adds], peer=..., inputs={more of the model's inputs}, differentiates=False where PEFT's gradients are another
thing). config is called for each base, as PEFT fills
configurations in."""

import importlib
import pkgutil

import method_cases
from adapter_checks import Peer, from_graft, from_peft
from peers import Report, arguments, folder, save_tiny, tiny_with_tokenizer


def cases():
    for module in sorted(info.name for info in pkgutil.iter_modules(method_cases.__path__)):
        yield from importlib.import_module(f"method_cases.{module}").CASES.items()


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--only", default=""))
    report = Report("methods")
    text = tiny_with_tokenizer(options.work / "bases" / "text", options.smollm2)
    for name, case in cases():
        if options.only not in name:
            continue
        make, merges, peer = case["config"], case.get("merges", True), case.get("peer", Peer())
        for base in case.get("bases", ["llama", "qwen2"]) if case.get("opens", True) else []:
            tiny = options.work / "bases" / base
            if not tiny.exists():
                save_tiny(base, tiny)
            label = f"{name}, {base}"
            report.case(label, from_peft, report, options, label, tiny, make(), case.get("scale", 0.1), merges,
                        case.get("repeated", ()), case.get("differentiates", True), peer,
                        case.get("inputs", {}))
        if not case.get("trains", True):
            continue
        directory = folder(options, f"{name} configuration")
        config = make()
        config.save_pretrained(directory)
        label = f"{name}, trained by graft"
        report.case(label, from_graft, report, options, label, text, case.get("rate", 1e-2),
                    ["--adapter-config", directory / "adapter_config.json"], config.peft_type.value,
                    case.get("trained_merges", merges), case.get("repeated", ()), peer, case.get("inputs", {}))
    report.finish()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes what PEFT knows by heart: fields with defaults of each method, default targets, type names.

    .peers/bin/python scripts/goldens/adapter_tables.py      # Tests/AdaptersTests/Fixtures/peft-tables.json
"""

import dataclasses
import json
import tempfile
from pathlib import Path

import peft
from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import constants

TARGET = Path(__file__).resolve().parents[2] / "Tests/AdaptersTests/Fixtures/peft-tables.json"
# What a configuration cannot be made without.
NEEDED = {"ADALORA": {"total_step": 100}, "CPT": {"cpt_token_ids": [0]}, "XLORA": {"adapters": {}, "hidden_size": 8}}
# Methods whose table is called otherwise than TRANSFORMERS_MODELS_TO_<TYPE>_TARGET_MODULES_MAPPING.
TABLES = {"LN_TUNING": "TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING"}


def bare(kind):
    """A configuration with its fields' defaults, whose own checks were not run."""
    config = object.__new__(kind)
    for field in dataclasses.fields(kind):
        made = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        setattr(config, field.name, made)
    return config


def fields(kind):
    """The content of a fresh adapter_config.json."""
    try:
        config = PEFT_TYPE_TO_CONFIG_MAPPING[kind](task_type="CAUSAL_LM", **NEEDED.get(kind.value, {}))
    except ImportError:  # AdaMSS asks for scikit-learn.
        config = bare(PEFT_TYPE_TO_CONFIG_MAPPING[kind])
        config.peft_type, config.task_type = kind, "CAUSAL_LM"
    with tempfile.TemporaryDirectory() as directory:
        config.save_pretrained(directory)
        return json.loads((Path(directory) / "adapter_config.json").read_text())


def targets(kind):
    name = TABLES.get(kind.value, f"TRANSFORMERS_MODELS_TO_{kind.value}_TARGET_MODULES_MAPPING")
    table = getattr(constants, name, None)
    return table and {model: names if isinstance(names, str) else list(names) for model, names in table.items()}


def main():
    methods = {}
    for kind in sorted(PeftType, key=lambda kind: kind.value):
        methods[kind.value] = {"fields": fields(kind), "targets": targets(kind)}
    extra = {name: {model: list(names) for model, names in getattr(constants, name).items()}
             for name in dir(constants) if name.endswith("FEEDFORWARD_MODULES_MAPPING")}
    TARGET.write_text(json.dumps({"peft": peft.__version__, "methods": methods, "feedforward": extra},
                                 indent=1, sort_keys=True) + "\n")
    print(f"{TARGET}: {len(methods)} methods")


if __name__ == "__main__":
    main()

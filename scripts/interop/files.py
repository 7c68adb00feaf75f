#!/usr/bin/env python3
"""DeepSpeed's and Accelerate's files: what `graft train` makes of them, beside DeepSpeed and Accelerate.

- Every schedule of DeepSpeed's, as the learning rates of a real run against DeepSpeed's own object.
- Batches, clipping, types and stage of generated files for 1, 2 and 3 processes against `DeepSpeedConfig`,
  refusals too.
- Accelerate's files against its own reader.
"""

import itertools
import json
import os
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "goldens"))

import deepspeed
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from deepspeed.runtime.config import DeepSpeedConfig

import deepspeed_schedules as schedules
from peers import Report, arguments, completion_rows, tiny_with_tokenizer, write_rows


def world(size):
    """Variables of rank 0 among so many processes; --print-recipe joins nobody."""
    if size == 1:
        return {}
    return {"RANK": "0", "WORLD_SIZE": str(size), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29555"}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


class Files:
    def __init__(self, options, report):
        self.options, self.report, self.work = options, report, options.work
        self.base = tiny_with_tokenizer(options.work / "base", options.smollm2)
        self.data = write_rows(options.work / "rows.jsonl", completion_rows(8))

    def recipe(self, *more, processes=1, expect=0):
        with mock.patch.dict(os.environ, world(processes)):
            done = self.options.graft.run(
                "train", "--model", self.base, "--data", self.data, "--output", self.work / "run",
                "--print-recipe", *more, expect=None)
        if expect is not None and done.returncode != expect:
            raise AssertionError(f"exit {done.returncode}: {done.stderr}")
        return json.loads(done.stdout) if done.returncode == 0 else done

    def schedule(self, index, name, fields):
        """The rates of a run's updates."""
        path = write(self.work / f"schedule-{index}.json", {
            "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 1,
            "optimizer": {"type": "AdamW", "params": {"lr": schedules.RATE}},
            "scheduler": {"type": name, "params": fields}})
        output = self.work / f"schedule-{index}"
        total = schedules.TOTAL
        self.options.graft.run(
            "train", "--model", self.base, "--data", self.data, "--output", output, "--deepspeed", path,
            "--warmup-steps" if fields.get("warmup_num_steps") == "auto" else "--seed", schedules.WARMUP,
            "--epochs", total // 4, "--log-every", 1, "--rank", 2, "--max-length", 32)
        rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        ours = [row["learning_rate"] for row in rows]
        theirs = schedules.rates(name, fields)[:total]
        worst = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(ours, theirs))
        self.report.line(len(ours) == total and worst < 1e-9, f"{name} {json.dumps(fields)}", f"{worst:.1e}")

    def peer_config(self, content, processes):
        """DeepSpeed's own reading; None where it refuses the file."""
        path = write(self.work / "peer.json", content)
        with mock.patch("deepspeed.comm.get_rank", return_value=0), \
                mock.patch("deepspeed.comm.get_world_size", return_value=processes):
            try:
                return DeepSpeedConfig(str(path))
            except (AssertionError, ValueError, ZeroDivisionError):
                return None

    def batches(self):
        """All combinations of the three numbers, missing ones too."""
        same = refused = 0
        wrong = []
        for total, micro, each, processes in itertools.product(
                [None, 4, 6, 12], [None, 1, 2, 3], [None, 1, 2], [1, 2, 3]):
            content = {key: value for key, value in [
                ("train_batch_size", total), ("train_micro_batch_size_per_gpu", micro),
                ("gradient_accumulation_steps", each), ("gradient_clipping", 0.5),
                ("zero_optimization", {"stage": 1})] if value is not None}
            if total is None and micro is None:
                continue  # DeepSpeed refuses, Graft's own options fill it in, as with Accelerate.
            peer = self.peer_config(content, processes)
            path = write(self.work / "batch.json", content)
            ours = self.recipe("--deepspeed", path, processes=processes, expect=None)
            if not isinstance(ours, dict):
                refused += 1
                if peer is not None:
                    wrong.append((content, processes, ours.stderr[-200:]))
                continue
            if peer is None:
                wrong.append((content, processes, "DeepSpeed refuses it"))
                continue
            found = (int(ours["batch-size"]), int(ours["gradient-accumulation"]))
            expected = (peer.train_micro_batch_size_per_gpu, peer.gradient_accumulation_steps * processes)
            if found != expected or peer.train_batch_size != found[0] * found[1] \
                    or float(ours["max-gradient-norm"]) != peer.gradient_clipping \
                    or int(ours["zero"]) != peer.zero_optimization_stage:
                wrong.append((content, processes, found, expected))
            same += 1
        self.report.line(not wrong, "batches", f"{same} alike, {refused} refused by both {wrong[:3] or ''}")

    def types(self):
        """Which type of numbers a file means."""
        wrong = []
        for half, brain, asked in itertools.product([None, False], [None, False, True], ["float32"]):
            content = {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1}
            content |= {} if half is None else {"fp16": {"enabled": half}}
            content |= {} if brain is None else {"bf16": {"enabled": brain}}
            peer = self.peer_config(content, 1)
            ours = self.recipe("--deepspeed", write(self.work / "type.json", content))
            expected = "bfloat16" if peer.bfloat16_config.enabled else asked
            if ours["precision"] != expected:
                wrong.append((content, ours["precision"]))
        self.report.line(not wrong, "types", f"{wrong or 'alike'}")

    def comments(self):
        """Comments and a last comma, which DeepSpeed's reader takes too; a key twice is refused by both."""
        text = ('{ // rows\n  "train_micro_batch_size_per_gpu": 3, # of a process\n'
                '  /* none yet */ "gradient_accumulation_steps": 2,\n}\n')
        path = self.work / "comments.json"
        path.write_text(text)
        with mock.patch("deepspeed.comm.get_rank", return_value=0), \
                mock.patch("deepspeed.comm.get_world_size", return_value=1):
            peer = DeepSpeedConfig(str(path))
        ours = self.recipe("--deepspeed", path)
        found = (int(ours["batch-size"]), int(ours["gradient-accumulation"]))
        self.report.line(found == (peer.train_micro_batch_size_per_gpu, peer.gradient_accumulation_steps),
                         "comments", f"{found}")
        path.write_text('{"train_batch_size": 4, "train_batch_size": 8}')
        try:
            DeepSpeedConfig(str(path))
            refused = False
        except ValueError:
            refused = True
        ours = self.recipe("--deepspeed", path, expect=65)
        self.report.line(refused and "train_batch_size" in ours.stderr, "a key twice", ours.stderr.strip())

    def accelerate(self):
        """What Accelerate's own reader finds in the same files."""
        files = {
            "cpus": {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_CPU",
                     "num_processes": 2, "num_machines": 1, "machine_rank": 0, "mixed_precision": "bf16",
                     "use_cpu": True, "debug": False, "downcast_bf16": "no", "rdzv_backend": "static",
                     "same_network": True, "main_training_function": "main"},
            "sharded": {"distributed_type": "FSDP", "num_processes": 3, "mixed_precision": "no",
                        "fsdp_config": {"fsdp_sharding_strategy": "SHARD_GRAD_OP",
                                        "fsdp_activation_checkpointing": True,
                                        "fsdp_state_dict_type": "FULL_STATE_DICT"}},
            "deepspeed": {"distributed_type": "DEEPSPEED", "num_processes": 2, "mixed_precision": "no",
                          "deepspeed_config": {"gradient_accumulation_steps": 3, "gradient_clipping": 0.25,
                                               "zero_stage": 2, "offload_optimizer_device": "none",
                                               "offload_param_device": "none",
                                               "zero3_init_flag": False}},
        }
        stage = {"cpus": 0, "sharded": 2, "deepspeed": 2}
        for name, content in files.items():
            path = self.work / f"{name}.yaml"
            path.write_text(yaml.safe_dump(content))
            peer = load_config_from_file(str(path))
            ours = self.recipe("--accelerate-config", path, processes=peer.num_processes)
            expected = {"precision": {"bf16": "bfloat16", "no": "float32"}[peer.mixed_precision],
                        "zero": str(stage[name])}
            if name == "deepspeed":
                own = peer.deepspeed_config
                expected |= {
                    "gradient-accumulation": str(own["gradient_accumulation_steps"] * peer.num_processes),
                    "max-gradient-norm": str(own["gradient_clipping"])}
            if name == "sharded":
                expected["activation-checkpointing"] = "true"
            found = {key: ours[key] for key in expected}
            self.report.line(found == expected, f"accelerate {name}", f"{found} {expected}")
            done = self.recipe("--accelerate-config", path, processes=peer.num_processes + 1, expect=64)
            self.report.line("num_processes" in done.stderr, f"accelerate {name}: other processes",
                             done.stderr.strip()[-120:])


def main():
    options = arguments(__doc__)
    report = Report("files")
    files = Files(options, report)
    print(f"DeepSpeed {deepspeed.__version__}")
    for index, (name, fields) in enumerate(schedules.CASES):
        report.case(name, files.schedule, index, name, fields)
    for check in [files.batches, files.types, files.comments, files.accelerate]:
        report.case(check.__name__, check)
    report.finish()


if __name__ == "__main__":
    main()

"""What each of N processes keeps and sends at each stage: bytes that graft counted, beside the formulas."""

import array
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

from measuring import environment

# Eight processes of SmolLM2 take more memory than a small machine has.
COUNTS = {"SmolLM2": [1, 2, 4], "small": [1, 2, 4, 8]}
STAGES = [0, 1, 2, 3]
# Passes of each process in an update.
ROUNDS = 2
# Buckets are filled up to a multiple of 256 elements for each process, which is much for a small adapter.
LIMIT = 0.06

FORMULAS = """With N processes of R passes each, T bytes of what is trained and their gradients, T_o of them in no block and T_l in
the last one, and a frozen base of which B bytes lie in blocks, B_l in the last one, and E before and behind them (embeddings,
last norm, head); Adam keeps two numbers for each:

| | plain | ZeRO 1 | ZeRO 2 | ZeRO 3 |
|---|---|---|---|---|
| parameters | T | T + T / N | T + T / N | T / N |
| gradients behind a pass | T | T | T / N | T / N |
| optimiser's state | 2 T | 2 T / N | 2 T / N | 2 T / N |
| base | B + E | B + E | B + E | (B + E) / N |
| sent: gradients | 2 T (N - 1) / N | T (N - 1) / N | R T (N - 1) / N | R T (N - 1) / N |
| sent: parameters | 0 | T (N - 1) / N | T (N - 1) / N | (T_o + R (2 (T - T_o) - T_l)) (N - 1) / N |
| sent: the base | 0 | 0 | 0 | R (2 B - B_l + E) (N - 1) / N |

In a backward pass the last block is still there from the forward pass. A head that is the embeddings' table is brought twice:
E counts twice there, as in all models below. At ZeRO 1 and 2 the ranges that a process changes are
kept beside the whole. Numbers that are not counted here: activations; what is on its way (a message's bytes, at ZeRO 3 two
blocks); losses and lengths of gradients, some bytes for 256 elements."""


def formula(stage: int, count: int, one: dict, layers: int) -> dict:
    """The formulas above; sizes are those that one process counted, of equal blocks."""
    trained, base = one["parameters"], one["base"]
    inside = one["trained_in_blocks"]
    blocks = one["base_in_blocks"]
    # Both models' head is the embeddings' table, brought at either end.
    outside = 2 * (base - blocks)
    share = (count - 1) / count
    return {
        "parameters": [trained, trained + trained / count, trained + trained / count, trained / count][stage],
        "gradients": [trained, trained, trained / count, trained / count][stage],
        "optimizer_state": 2 * trained / (1 if stage == 0 else count),
        "base": base if stage < 3 else base / count,
        "sent_gradients": [2, 1, ROUNDS, ROUNDS][stage] * trained * share,
        "sent_parameters": 0 if stage == 0 else trained * share if stage < 3 else
        (trained - inside + ROUNDS * inside * (2 - 1 / layers)) * share,
        "sent_base": ROUNDS * (blocks * (2 - 1 / layers) + outside) * share if stage == 3 else 0,
    }


def small_model(path: Path, smollm2: Path) -> int:
    """A Llama of 8 blocks with SmolLM2's tokenizer; its numbers only have to be there. Gives back the blocks."""
    width, inner, layers, vocabulary = 128, 512, 8, json.loads((smollm2 / "config.json").read_text())["vocab_size"]
    path.mkdir(parents=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": inner,
              "num_hidden_layers": layers, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": vocabulary,
              "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "tie_word_embeddings": True,
              "torch_dtype": "float32"}
    (path / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": [vocabulary, width], "model.norm.weight": [width]}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        shapes |= {f"{block}.self_attn.{name}_proj.weight": [width, width] for name in "qkvo"}
        shapes |= {f"{block}.mlp.{name}_proj.weight": [inner, width] for name in ("gate", "up")}
        shapes |= {f"{block}.mlp.down_proj.weight": [width, inner]}
        shapes |= {f"{block}.{name}.weight": [width] for name in ("input_layernorm", "post_attention_layernorm")}
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    generator = random.Random(1)
    noise = array.array("f", [generator.gauss(0, 0.05) for _ in range(1 << 16)]).tobytes()
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path / "model.safetensors", "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        while offset > 0:
            file.write(noise[:offset])
            offset -= len(noise)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (smollm2 / name).exists():
            shutil.copy(smollm2 / name, path)
    return layers


def ranks(options, model: Path, words: list, stage: int, count: int, work: Path) -> list:
    """What the ranks of a short run say."""
    output = work / f"run-{stage}-{count}"
    command = [options.graft] + (["launch", "--processes", count, "--"] if count > 1 else [])
    command += ["train", "--model", model, "--data", work / "rows.jsonl", "--batch-size", 1, "--gradient-accumulation",
                ROUNDS * count, "--max-steps", 2, "--max-length", 32, "--zero", stage, "--json", "--quiet", "--output", output]
    run = subprocess.run([str(word) for word in [*command, *words]], capture_output=True, text=True, env=environment(1))
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{run.stderr[-3000:]}")
    shutil.rmtree(output)
    return json.loads(run.stdout)["ranks"]


def sizes(model: Path, one: dict, is_full: bool) -> dict:
    """One process's bytes, with the parts that lie in blocks; an adapter is in them as a whole."""
    kept = one["kept_bytes"]
    header_size = int.from_bytes((model / "model.safetensors").read_bytes()[:8], "little")
    with open(model / "model.safetensors", "rb") as file:
        header = json.loads(file.read(8 + header_size)[8:])
    numbers = sum((place["data_offsets"][1] - place["data_offsets"][0]) // {"F32": 4, "BF16": 2, "F16": 2}[place["dtype"]]
                  for name, place in header.items() if ".layers." in name)
    inside = 4 * numbers
    return {"parameters": kept["parameters"], "base": kept["base"], "base_in_blocks": 0 if is_full else inside,
            "trained_in_blocks": inside if is_full else kept["parameters"]}


def measure(options, work: Path) -> list:
    (work / "rows.jsonl").write_text("".join(
        json.dumps({"prompt": f"{i} plus {i} is", "completion": f" {2 * i}"}) + "\n" for i in range(2 * ROUNDS * 8)))
    layers = json.loads((options.model / "config.json").read_text())["num_hidden_layers"]
    small = work / "small"
    small_layers = small_model(small, options.model)
    cases = [("A Llama of 8 blocks of 128 x 512 in float32, all of it trained", small, small_layers, ["--method", "full"], "small"),
             ("The same, LoRA of rank 8 on all linear layers", small, small_layers, ["--rank", 8], "small"),
             ("SmolLM2-135M in float32, LoRA of rank 8 on all linear layers", options.model, layers,
              ["--rank", 8, "--precision", "float32"], "SmolLM2")]
    results = []
    for title, model, layers, words, kind in cases:
        one, rows = None, []
        for count in COUNTS[kind]:
            for stage in STAGES if count > 1 else [0]:
                found = ranks(options, model, words, stage, count, work)
                one = one or sizes(model, found[0], "full" in words)
                sent = [rank["sent_bytes_per_step"] for rank in found]
                counted = {name: max(rank["kept_bytes"][name] for rank in found)
                           for name in ("parameters", "gradients", "optimizer_state", "base")}
                counted |= {f"sent_{name}": max(rank.get(label, 0) for rank in sent)
                            for name, label in (("gradients", "gradients"), ("parameters", "parameters"), ("base", "block"))}
                expected = formula(stage, count, one, layers)
                rows.append({"processes": count, "stage": stage, "counted": counted, "formula": expected})
                apart = max((abs(counted[name] / expected[name] - 1) if expected[name] else float(counted[name] > 0))
                            for name in expected)
                print(f"{title}: {count} processes, ZeRO {stage}: within {100 * apart:.2f} % of the formulas", flush=True)
                if apart > LIMIT:
                    sys.exit(f"{counted}\n{expected}")
        results.append({"title": title, "rows": rows})
    return results


def report(results: list) -> list:
    lines = ["## What each process keeps and sends", "", *FORMULAS.splitlines(), "",
             f"Counted by Graft in runs of so many real processes (R = {ROUNDS}), the largest of the ranks, and by the formula in",
             "brackets; in MB of 10^6 bytes. Differences are what fills messages and blocks up."]
    names = [("parameters", "parameters"), ("gradients", "gradients"), ("optimizer_state", "state"), ("base", "base"),
             ("sent_gradients", "sent: gradients"), ("sent_parameters", "sent: parameters"), ("sent_base", "sent: base")]
    for result in results:
        lines += ["", f"**{result['title']}**", "", "| N | ZeRO | " + " | ".join(title for _, title in names) + " |",
                  "|---|---|" + "---|" * len(names)]
        for row in result["rows"]:
            cells = [f"{row['counted'][name] / 1e6:.2f} ({row['formula'][name] / 1e6:.2f})" for name, _ in names]
            stage = row["stage"] if row["processes"] > 1 else "-"
            lines.append(f"| {row['processes']} | {stage} | " + " | ".join(cells) + " |")
    return lines

"""All-reduces between processes and between machines of a slow network: what the cost model predicts, and what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import slow_network
from measuring import environment, processor, run

COUNTS = [2, 3, 4]
# Seconds each way and bytes a second out of each machine.
NETWORKS = [(0.002, 25e6), (0.01, 12.5e6)]
# What is predicted may differ from what is measured by this factor.
FACTOR = 1.5
NODES = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]

MODEL = """A ring of N processes sends 2 (N - 1) messages one after another, each of 1 / N of the bytes:

    t = 2 (N - 1) (latency + bytes / (N bandwidth))

(Patarasuk and Yuan 2009.) `graft network` times sums of 4 KB to 32 MB, as training does them, with the comparison of what the
processes ask for before each, so that the latency of a message is more than the network's delay; latency and bandwidth are
those with the smallest squared relative errors."""


def machines(options, network, count: int, work: Path) -> dict:
    """What graft network says on so many machines of a slow network."""
    output = work / f"network-{count}.json"
    processes = [subprocess.Popen(
        network.command(index, [options.graft, "launch", "--processes", 1, "--nodes", count, "--node-rank", index,
                                "--rendezvous", "10.92.0.1:29700", "--", "network", "--output", output]),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(1)) for index in range(count)]
    texts = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit("\n".join(line for text in texts for line in text.splitlines() if "frame #" not in line))
    return json.loads(output.read_text())


def cost(figures: dict) -> tuple:
    return figures["latency_seconds"], figures["seconds_per_byte"]


def seconds(cost: tuple, count: int, size: int) -> float:
    return 2 * (count - 1) * (cost[0] + cost[1] * size / count)


def compared(figures: list, fitted: tuple) -> list:
    return [{"processes": sample["processes"], "bytes": sample["bytes"], "measured": sample["seconds"],
             "predicted": seconds(fitted, sample["processes"], sample["bytes"])}
            for found in figures for sample in found["samples"]]


def measure(options, work: Path) -> dict:
    results = {"processor": processor()}
    files = []
    for count in COUNTS:
        files.append(work / f"loopback-{count}.json")
        run([options.graft, "launch", "--processes", count, "--", "network", "--output", files[-1]])
    figures = [json.loads(path.read_text()) for path in files]
    results["loopback"] = {"cost": cost(figures[0]), "samples": compared(figures, cost(figures[0]))}
    results["networks"] = []
    if reason := slow_network.missing():
        print(f"left out: machines of a slow network ({reason})")
    else:
        for delay, rate in NETWORKS:
            figures = []
            for count in COUNTS:
                with slow_network.SlowNetwork(count, delay, rate) as network:
                    figures.append(machines(options, network, count, work))
            if not results["networks"]:
                (work / "slow.json").write_text(json.dumps(figures[0]))
            fitted = cost(figures[0])
            results["networks"].append({"delay": delay, "rate": rate, "cost": fitted, "samples": compared(figures, fitted)})
            ratios = [sample["predicted"] / sample["measured"] for sample in results["networks"][-1]["samples"]]
            print(f"{1e3 * delay:g} ms, {8e-6 * rate:g} Mbit/s: predicted / measured {min(ratios):.2f} to {max(ratios):.2f}",
                  flush=True)
    # The update of SmolLM2 with LoRA, on this machine, on the loopback's and the slow network's figures.
    rows = work / "plan.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{i} plus {i} is", "completion": f" {2 * i}" + " indeed" * 50}) + "\n"
                            for i in range(64)))
    network = work / "slow.json" if results["networks"] else files[0]
    found = json.loads(run([options.graft, "plan", "--model", options.model, "--data", rows, "--rank", 8, "--batch-size", 32,
                            "--max-length", 64, "--gradient-accumulation", 32, "--nodes", ",".join(map(str, NODES)), "--network",
                            network, "--json", "--quiet"]))
    results["plan"] = found
    return results


def size(count: int) -> str:
    return f"{count / 1024:.0f} KB" if count < 1 << 20 else f"{count / (1 << 20):.0f} MB"


def table(samples: list) -> list:
    sizes = sorted({sample["bytes"] for sample in samples})
    lines = ["| | " + " | ".join(map(size, sizes)) + " |", "|---|" + "---|" * len(sizes)]
    for count in COUNTS:
        own = {sample["bytes"]: sample for sample in samples if sample["processes"] == count}
        lines.append(f"| N = {count}: measured | " + " | ".join(f"{1e3 * own[b]['measured']:.3g} ms" for b in sizes) + " |")
        lines.append("| predicted / measured | " + " | ".join(
            f"{own[b]['predicted'] / own[b]['measured']:.2f}" for b in sizes) + " |")
    return lines


def outside(samples: list) -> str:
    """How far predictions of more processes are from what was measured."""
    ratios = [sample["predicted"] / sample["measured"] for sample in samples if sample["processes"] > 2]
    apart = max(max(ratio, 1 / ratio) for ratio in ratios)
    return (f"N = 3 and 4 are predicted within a factor of {apart:.2f}" + ("" if apart <= FACTOR else f", wanted {FACTOR}: missed"))


def report(results: dict) -> list:
    lines = ["## What an exchange costs", "", *MODEL.splitlines(), "",
             f"Measured on {results['processor']}; both numbers are fitted on N = 2 alone.", ""]
    if "loopback" in results:
        latency, per_byte = results["loopback"]["cost"]
        lines += [f"**Processes of this machine (loopback, two cores)**: {1e6 * latency:.0f} us a message, {1e-9 / per_byte:.2f} GB/s; "
                  f"{outside(results['loopback']['samples'])}. Four processes on two cores also wait for each other's turn.", "",
                  *table(results["loopback"]["samples"])]
    for network in results["networks"]:
        latency, per_byte = network["cost"]
        lines += ["", f"**Network namespaces, {1e3 * network['delay']:g} ms each way and {8e-6 * network['rate']:g} Mbit/s out of each** "
                  f"(packets are held back by `Benchmarks/slow_network.py`): {1e3 * latency:.2f} ms a message, {1e-6 / per_byte:.1f} MB/s; "
                  f"{outside(network['samples'])}.", "", *table(network["samples"])]
    if "plan" not in results:
        return lines
    rows = results["plan"]["cluster"]["nodes"]
    where = ("the first of these networks" if results["networks"] else "the loopback")
    lines += ["", "## Predicted: up to 1024 machines", "",
              f"Nothing of this table was run. `graft plan --nodes` takes the update of SmolLM2-135M (LoRA, rank 8, 32 micro-batches of",
              f"32 rows of 64 tokens) as it was measured on this machine, every machine to be like it, and the exchange as the model says",
              f"for {where}, behind the update as a whole. Graft's exchange overlaps with the backward pass, so that an update may take",
              "less; stragglers and shared lines, which the model does not know, make it take more.", "",
              "| machines | exchange | the same update | an update with as many rows for each machine | sent by each |",
              "|---|---|---|---|---|"]
    for row in rows:
        same = row["seconds_per_step"]
        lines.append(f"| {row['nodes']} | {row['exchange_seconds']:.3f} s | {f'{same:.2f} s' if same else 'too few rows'} | "
                     f"{row['seconds_per_larger_step']:.2f} s | {row['bytes_sent_per_process'] / 1e6:.1f} MB |")
    return lines

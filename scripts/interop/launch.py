"""Several processes: torchrun as launcher, and two network namespaces as two machines.

Compares the losses of runs that were started in different ways; with --deterministic they are equal to the
last bit. Namespaces need root and the tools of iproute2; without them that part is left out and says so.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--graft", required=True)
parser.add_argument("--work", required=True)
parser.add_argument("--smollm2", required=True)
options = parser.parse_args()
work = Path(options.work)
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
graft = os.path.abspath(options.graft)
failures = 0


def check(name, passed, detail=""):
    global failures
    failures += not passed
    print(("ok   " if passed else "FAIL ") + name, "" if passed else detail)


rows = work / "rows.jsonl"
rows.write_text("".join(
    json.dumps({"prompt": f"{i} plus {i} is", "completion": f" {2 * i}" + " indeed" * (i % 3)}) + "\n"
    for i in range(10)))
train = ["train", "--model", os.path.abspath(options.smollm2), "--data", str(rows), "--batch-size", "4", "--max-steps",
         "4", "--log-every", "1", "--deterministic", "2", "--dropout", "0.1", "--rank", "4"]
environment = {**os.environ, "OMP_NUM_THREADS": "1"}


def losses(name):
    lines = (work / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def adapter(name):
    return (work / name / "adapter_model.safetensors").read_bytes()


def run(name, before, more=()):
    command = [*before, *train, "--output", str(work / name), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


alone = run("alone", [graft])
check("alone", alone.returncode == 0, alone.stderr)
launched = run("launched", [graft, "launch", "--processes", "2", "--"])
check("launched", launched.returncode == 0, launched.stderr)
check("launched equals alone", losses("launched") == losses("alone") and adapter("launched") == adapter("alone"))

zero3 = run("zero3", [graft, "launch", "--processes", "2", "--"], ["--zero", "3"])
check("ZeRO 3", zero3.returncode == 0, zero3.stderr)
check("ZeRO 3 equals alone", losses("zero3") == losses("alone") and adapter("zero3") == adapter("alone"))

torchrun = Path(sys.executable).with_name("torchrun")
for name, place in [("standalone", ["--standalone"]), ("static", ["--master-addr", "127.0.0.1", "--master-port", "29631"])]:
    other = run(name, [str(torchrun), *place, "--nproc-per-node", "2", "--no-python", graft])
    check(f"torchrun {name}", other.returncode == 0, other.stderr)
    if other.returncode == 0:
        check(f"torchrun {name} equals alone", losses(name) == losses("alone") and adapter(name) == adapter("alone"))


def shell(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True)


# Two machines: each namespace has one end of a cable, and its own loopback device.
setup = """
ip netns add graft0 && ip netns add graft1 &&
ip link add graft-a type veth peer name graft-b &&
ip link set graft-a netns graft0 && ip link set graft-b netns graft1 &&
ip -n graft0 addr add 10.91.0.1/24 dev graft-a && ip -n graft1 addr add 10.91.0.2/24 dev graft-b &&
ip -n graft0 link set graft-a up && ip -n graft1 link set graft-b up &&
ip -n graft0 link set lo up && ip -n graft1 link set lo up
"""
remove = "ip netns del graft0; ip netns del graft1"
if shutil.which("ip") is None or shell(setup).returncode != 0:
    shell(remove)
    print("left out: two machines (no network namespaces here)")
else:
    try:
        def node(index, name, more=()):
            command = ["ip", "netns", "exec", f"graft{index}", graft, "launch", "--processes", "1", "--nodes", "2",
                       "--node-rank", str(index), "--rendezvous", "10.91.0.1:29632", *more, "--", *train, "--output",
                       str(work / name)]
            return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        nodes = [node(0, "nodes"), node(1, "nodes")]
        ends = [process.communicate(timeout=300) for process in nodes]
        check("two machines", all(process.returncode == 0 for process in nodes), ends)
        check("two machines equal alone", losses("nodes") == losses("alone") and adapter("nodes") == adapter("alone"))

        # The cable is cut in the middle of a run: both sides end, and say which rank is gone.
        train[train.index("--max-steps") + 1] = "4000"
        nodes = [node(0, "cut"), node(1, "cut")]
        log = work / "cut" / "metrics.jsonl"
        limit = time.time() + 120
        while time.time() < limit and not (log.exists() and log.read_text().count("\n") > 2):
            time.sleep(0.1)
        shell("ip -n graft0 link set graft-a down")
        start = time.time()
        ends = [process.communicate(timeout=120) for process in nodes]
        check("cut: both end", all(process.returncode != 0 for process in nodes), ends)
        check("cut: within 20 s", time.time() - start < 20, time.time() - start)
        check("cut: rank 1 is named", "rank 1 has not answered" in ends[0][1], ends[0][1])
        check("cut: the store is named", "10.91.0.1:29632" in ends[1][1], ends[1][1])
    finally:
        shell(remove)

print(f"{failures} failed" if failures else "launch: all equal")
sys.exit(1 if failures else 0)

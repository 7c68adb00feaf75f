"""Several processes: torchrun as launcher, and two network namespaces as two machines.

Compares the losses of runs that were started in different ways; with --deterministic they are equal to the
last bit. Checkpoints of ZeRO runs have a share of the state for each rank, with which other numbers of processes go
on, also where the ranks write on different disks. Namespaces need root and the tools of iproute2; without them that
part is left out and says so.
"""
import shutil
import subprocess
import sys
import time
from pathlib import Path

from safetensors import safe_open

from process_runs import ProcessRuns

runs = ProcessRuns()
check, work, graft = runs.check, runs.work, runs.graft
train = ["train", "--model", runs.smollm2, "--data", runs.rows("rows.jsonl", 10), "--batch-size", "4", "--max-steps",
         "4", "--save-every", "2", "--log-every", "1", "--deterministic", "2", "--dropout", "0.1", "--rank", "4"]


def run(name, before, more=()):
    return runs.run([*before, *train, *runs.output(name), *more], timeout=300)


def compare(title, name, before, more=()):
    """Runs and compares with one process."""
    done = run(name, before, more)
    if check(title, done.returncode == 0, done.stderr):
        check(f"{title} equals alone", runs.same(name, "alone"))


alone = run("alone", [graft])
check("alone", alone.returncode == 0, alone.stderr)
compare("launched", "launched", runs.launch(2))
compare("ZeRO 3", "zero3", runs.launch(2), ["--zero", "3"])


def state(name, step):
    """The optimiser's state of a checkpoint, flat and whole, and the bytes of each file with slices."""
    folder = work / name / "checkpoints" / f"step-{step:08}"
    whole, slices, sizes = {}, {}, {}
    for path in sorted(folder.glob("optimizer*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in file.keys():
                tensor = file.get_tensor(key)
                parameter, at, rest = key.rpartition("@")
                if not at:
                    whole[key] = tensor.flatten()
                    continue
                start, _, kind = rest.partition(".")
                slices.setdefault(f"{parameter}.{kind}", {})[int(start)] = tensor
                sizes[path.name] = sizes.get(path.name, 0) + tensor.numel() * tensor.element_size()
    for key, parts in slices.items():
        whole[key] = [value for start in sorted(parts) for value in parts[start].tolist()]
    return {key: value if isinstance(value, list) else value.tolist() for key, value in whole.items()}, sizes


expected, none = state("alone", 2)
check("alone: one file", not none, none)
found, sizes = state("zero3", 2)
check("ZeRO 3: a share for each rank", sorted(sizes) == [f"optimizer-0000{i}-of-00002.safetensors" for i in (1, 2)], sizes)
check("ZeRO 3: shares of about one size", max(sizes.values()) < 1.05 * min(sizes.values()), sizes)
check("ZeRO 3: shares are one process's state", found == expected)


def resume(title, name, before, source, more=()):
    """Goes on from the first checkpoint of a copy of another run."""
    shutil.copytree(work / source, work / name)
    shutil.rmtree(work / name / "checkpoints" / "step-00000004")
    compare(title, name, before, [*more, "--resume"])


resume("from two shares by one process", "to-one", [graft], "zero3", ["--zero", "0"])
resume("from one process by two at stage 1", "from-one", runs.launch(2), "alone", ["--zero", "1"])

# Two launches, whose ranks write to different directories, as on machines without a common disk.
places = ["disk0", "disk1"]
nodes = [runs.start([*runs.launch(1, "--nodes", 2, "--node-rank", i, "--rendezvous", "127.0.0.1:29633"), *train,
                     *runs.output(place), "--zero", "2"]) for i, place in enumerate(places)]
ends = [process.communicate(timeout=300) for process in nodes]
if check("two disks", all(process.returncode == 0 for process in nodes), ends):
    check("two disks equal alone", runs.same("disk0", "alone"))
    found, sizes = state("disk0", 2)
    check("two disks: both shares are on the first", len(sizes) == 2 and found == expected, sizes)
    check("two disks: nothing is on the second", not list((work / "disk1").rglob("*.safetensors")))

torchrun = Path(sys.executable).with_name("torchrun")
for name, place in [("standalone", ["--standalone"]), ("static", ["--master-addr", "127.0.0.1", "--master-port", "29631"])]:
    compare(f"torchrun {name}", name, [str(torchrun), *place, "--nproc-per-node", "2", "--no-python", graft])


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
        def node(index, name):
            return runs.start([
                "ip", "netns", "exec", f"graft{index}",
                *runs.launch(1, "--nodes", 2, "--node-rank", index, "--rendezvous", "10.91.0.1:29632"), *train,
                *runs.output(name)])

        nodes = [node(0, "nodes"), node(1, "nodes")]
        ends = [process.communicate(timeout=300) for process in nodes]
        check("two machines", all(process.returncode == 0 for process in nodes), ends)
        check("two machines equal alone", runs.same("nodes", "alone"))

        # The cable is cut in the middle of a run: both sides end, and say which rank is gone.
        train[train.index("--max-steps") + 1] = "4000"
        nodes = [node(0, "cut"), node(1, "cut")]
        runs.wait_for_lines("cut", 3)
        shell("ip -n graft0 link set graft-a down")
        start = time.time()
        ends = [process.communicate(timeout=120) for process in nodes]
        check("cut: both end", all(process.returncode != 0 for process in nodes), ends)
        check("cut: within 20 s", time.time() - start < 20, time.time() - start)
        check("cut: rank 1 is named", "rank 1 has not answered" in ends[0][1], ends[0][1])
        check("cut: the store is named", "10.91.0.1:29632" in ends[1][1], ends[1][1])
    finally:
        shell(remove)

runs.finish("launch: all equal")

"""The launchers of others: mpirun of Open MPI, and srun of a Slurm that this script sets up on this machine.

Runs of two and three processes that they start give the losses and the adapter of one process to the last bit; a
process that is killed ends the others. What is not installed is left out and said so.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))
from one_node_slurm import OneNodeSlurm, missing

parser = argparse.ArgumentParser()
parser.add_argument("--graft", required=True)
parser.add_argument("--work", required=True)
parser.add_argument("--smollm2", required=True)
options = parser.parse_args()
work = Path(options.work)
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
graft = os.path.abspath(options.graft)
environment = {**os.environ, "OMP_NUM_THREADS": "1"}
failures = 0


def check(name, passed, detail=""):
    global failures
    failures += not passed
    print(("ok   " if passed else "FAIL ") + name, "" if passed else detail, flush=True)


rows = work / "rows.jsonl"
rows.write_text("".join(
    json.dumps({"prompt": f"{i} plus {i} is", "completion": f" {2 * i}" + " indeed" * (i % 3)}) + "\n"
    for i in range(10)))


def train(name, steps=4):
    return [graft, "train", "--model", os.path.abspath(options.smollm2), "--data", str(rows), "--batch-size", "4",
            "--gradient-accumulation", "2", "--max-steps", str(steps), "--log-every", "1", "--deterministic", "2",
            "--dropout", "0.1", "--rank", "4", "--output", str(work / name)]


def results(name):
    lines = (work / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines], (work / name / "adapter_model.safetensors").read_bytes()


alone = subprocess.run(train("alone"), env=environment, capture_output=True, text=True, timeout=300)
check("alone", alone.returncode == 0, alone.stderr)


def compare(launcher, before, environment):
    """`before` gives the words before the command for a number of processes."""
    for processes in (2, 3):
        name = f"{launcher}-{processes}"
        run = subprocess.run([*before(processes), *train(name)], env=environment, capture_output=True, text=True,
                             timeout=300)
        check(f"{launcher}, {processes} processes", run.returncode == 0, run.stderr)
        if run.returncode == 0:
            check(f"{launcher}, {processes} processes: equals alone", results(name) == results("alone"))
            check(f"{launcher}, {processes} processes: so many ranks", all(
                f"rank {rank} of {processes}" in run.stderr + run.stdout for rank in range(processes)), run.stderr)
    # A rank is killed in the middle of a long run.
    name = f"{launcher}-killed"
    log = work / f"{name}.log"
    with open(log, "w") as output:
        launch = subprocess.Popen([*before(2), *train(name, steps=4000)], env=environment, stdout=output,
                                  stderr=subprocess.STDOUT)
        metrics, limit = work / name / "metrics.jsonl", time.time() + 120
        while time.time() < limit and not (metrics.exists() and metrics.read_text().count("\n") > 2):
            time.sleep(0.05)
        ranks = [process for process in ranks_of(name) if process != launch.pid]
        check(f"{launcher}: two ranks run", len(ranks) == 2, ranks)
        start = time.time()
        if ranks:
            os.kill(ranks[-1], signal.SIGKILL)
        try:
            code = launch.wait(60)
        except subprocess.TimeoutExpired:
            code = 0
            launch.kill()
    check(f"{launcher}: a killed rank ends the run with an error", code != 0, log.read_text()[-2000:])
    check(f"{launcher}: within 30 s", time.time() - start < 30, time.time() - start)
    limit = time.time() + 10
    while ranks_of(name) and time.time() < limit:
        time.sleep(0.1)
    check(f"{launcher}: no rank is left", not ranks_of(name), ranks_of(name))


def ranks_of(name):
    """Processes of graft itself that write a run, by their numbers."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            words = (place / "cmdline").read_bytes().split(b"\0") if place.name.isdigit() else []
        except OSError:
            continue
        if words[:1] == [graft.encode()] and str(work / name).encode() in words:
            found.append(int(place.name))
    return sorted(found)


mpirun = shutil.which("mpirun")
version = subprocess.run([mpirun, "--version"], capture_output=True, text=True).stdout if mpirun else ""
if "Open MPI" in version:
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    compare("mpirun", lambda processes: [mpirun, *root, "--oversubscribe", "-np", str(processes)], environment)
else:
    print("left out: mpirun (Open MPI is not installed)")

if reason := missing():
    print(f"left out: srun (Slurm: {reason})")
else:
    # Short, as the path of a socket is in it.
    with tempfile.TemporaryDirectory() as folder, OneNodeSlurm(Path(folder)) as slurm:
        compare("srun", lambda processes: ["srun", "-n", str(processes)],
                {**slurm.environment, "OMP_NUM_THREADS": "1"})

print(f"{failures} failed" if failures else "launchers: all equal")
sys.exit(1 if failures else 0)

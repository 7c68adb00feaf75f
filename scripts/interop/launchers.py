"""The launchers of others: mpirun of Open MPI, and srun of a Slurm that this script sets up on this machine.

Runs of two and three processes that they start give the losses and the adapter of one process to the last bit; a
process that is killed ends the others. What is not installed is left out and said so.
"""
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
from process_runs import ProcessRuns, with_words

runs = ProcessRuns()
check, work, graft = runs.check, runs.work, runs.graft
rows = runs.rows("rows.jsonl", 10)


def train(name, steps=4):
    return [graft, "train", "--model", runs.smollm2, "--data", rows, "--batch-size", "4", "--gradient-accumulation",
            "2", "--max-steps", str(steps), "--log-every", "1", "--deterministic", "2", "--dropout", "0.1", "--rank",
            "4", *runs.output(name)]


alone = runs.run(train("alone"), timeout=300)
check("alone", alone.returncode == 0, alone.stderr)


def compare(launcher, before, environment):
    """`before` gives the words before the command for a number of processes."""
    for processes in (2, 3):
        name = f"{launcher}-{processes}"
        run = runs.run([*before(processes), *train(name)], timeout=300, env=environment)
        check(f"{launcher}, {processes} processes", run.returncode == 0, run.stderr)
        if run.returncode == 0:
            check(f"{launcher}, {processes} processes: equals alone", runs.same(name, "alone"))
            check(f"{launcher}, {processes} processes: so many ranks", all(
                f"rank {rank} of {processes}" in run.stderr + run.stdout for rank in range(processes)), run.stderr)
    # A rank is killed in the middle of a long run.
    name = f"{launcher}-killed"
    log = work / f"{name}.log"
    with open(log, "w") as output:
        launch = runs.start([*before(2), *train(name, steps=4000)], env=environment, stdout=output,
                            stderr=subprocess.STDOUT)
        runs.wait_for_lines(name, 3)
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
    return with_words(graft, str(work / name))


mpirun = shutil.which("mpirun")
version = subprocess.run([mpirun, "--version"], capture_output=True, text=True).stdout if mpirun else ""
if "Open MPI" in version:
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    compare("mpirun", lambda processes: [mpirun, *root, "--oversubscribe", "-np", str(processes)], runs.environment)
else:
    print("left out: mpirun (Open MPI is not installed)")

if reason := missing():
    print(f"left out: srun (Slurm: {reason})")
else:
    # Short, as the path of a socket is in it.
    with tempfile.TemporaryDirectory() as folder, OneNodeSlurm(Path(folder)) as slurm:
        compare("srun", lambda processes: ["srun", "-n", str(processes)],
                {**slurm.environment, "OMP_NUM_THREADS": "1"})

runs.finish("launchers: all equal")

"""Ranks that are killed at random moments: with restarts a run ends as one that nobody disturbed.

A run of two processes is killed, stopped or asked to end, up to three times: at any moment, while it starts, while a
checkpoint is being written, while it evaluates. Plain data parallel, ZeRO 2 and ZeRO 3 take turns. At the end losses of all steps,
evaluations and the adapter are those of one process, to the last bit. `--count` says how many runs, `--seed` which.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import time

from process_runs import ProcessRuns, children

runs = ProcessRuns({"count": 4, "seed": 1})
check, work, options = runs.check, runs.work, runs.options
STEPS = 10
# Codes of runs that were asked to end, with a checkpoint and without.
STOPPED = (75, 130)

train = ["train", "--model", runs.smollm2, "--data", runs.rows("rows.jsonl", 14), "--batch-size", "4",
         "--max-steps", str(STEPS), "--log-every", "1", "--save-every", "2", "--deterministic", "2", "--dropout", "0.1",
         "--rank", "4", "--eval-data", runs.rows("more.jsonl", 9), "--eval-every", "3"]


def metrics(name):
    """Every row's numbers that do not tell of time, losses and evaluations."""
    return [{key: row[key] for key in ("step", "loss", "gradient_norm", "eval_loss") if key in row}
            for row in runs.metrics(name)]


def is_as_alone(name):
    return metrics(name) == metrics("alone") and runs.adapter(name) == runs.adapter("alone")


def is_writing(name):
    """Whether a checkpoint is there that has not got its name yet."""
    folder = work / name / "checkpoints"
    return folder.is_dir() and any(not path.name.startswith("step-") for path in folder.iterdir())


def is_evaluating(name):
    """Whether a step has been logged behind which an evaluation is due, and none is there yet."""
    path = work / name / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return bool(lines) and '"loss"' in lines[-1] and json.loads(lines[-1]).get("step", 1) % 3 == 0


def steps_of(name):
    path = work / name / "metrics.jsonl"
    return path.read_text().count('"loss"') if path.exists() else 0


def disturb(launcher, name, chance, moment, after, delay, killed):
    """Sends a signal to a rank that has had none; says what was done, None for nothing.

    `after` so many steps, or as soon as there are ranks for the moment "starting"; then with a delay in seconds, or as soon
    as the run writes or evaluates.
    """
    reached = None
    while launcher.poll() is None:
        victims = [rank for rank in children(launcher.pid) if rank not in killed]
        if len(victims) == 2 and reached is None and (moment == "starting" or steps_of(name) >= after):
            reached = time.time()
        is_there = {"writing": is_writing, "evaluating": is_evaluating}.get(moment)
        if len(victims) == 2 and reached and (is_there(name) if is_there else time.time() - reached > delay):
            victim = chance.choice(victims)
            # A stopped rank costs the others five seconds; one that is asked to end makes all save and end.
            kind = chance.choices([signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT, signal.SIGTERM], [8, 1, 1, 2])[0]
            try:
                os.kill(victim, kind)
            except ProcessLookupError:
                return None
            killed.update(victims)
            return f"{kind.name} to rank {victims.index(victim)} ({moment}, {steps_of(name)} steps logged)"
        time.sleep(0.0005 if moment in ("writing", "evaluating") else 0.005)
    return None


def launch(name, more):
    with open(work / f"{name}.log", "a") as log:
        return runs.start([*runs.launch(2, "--max-restarts", 5), *train, *more, *runs.output(name)], stdout=log,
                          stderr=subprocess.STDOUT)


def end(launcher):
    try:
        return launcher.wait(600)
    except subprocess.TimeoutExpired:
        launcher.kill()
        return "none after 600 s"


alone = runs.run([runs.graft, *train, *runs.output("alone")], timeout=600)
check("alone", alone.returncode == 0, alone.stderr)
begin = time.time()
check("undisturbed", launch("undisturbed", []).wait(600) == 0, (work / "undisturbed.log").read_text()[-2000:])
length = time.time() - begin
check("undisturbed equals alone", is_as_alone("undisturbed"))

disturbances = 0
for number in range(options.count):
    chance = random.Random(f"{options.seed} {number}")
    stage = (0, 2, 3)[number % 3]
    name = f"run{number}"
    launcher = launch(name, ["--zero", str(stage)])
    killed, done = set(), []
    for after in sorted(chance.randrange(STEPS) for _ in range(chance.randint(1, 3))):
        moment = chance.choice(["any", "any", "starting", "writing", "evaluating"])
        delay = chance.uniform(0, 2 * length / STEPS)
        found = disturb(launcher, name, chance, moment, after, delay, killed)
        if found:
            done.append(found)
    code = end(launcher)
    # It was asked to end: with a checkpoint it goes on, before the first it begins again.
    if code in STOPPED:
        code = end(launch(name, ["--zero", str(stage), "--resume" if code == STOPPED[0] else "--overwrite"]))
    disturbances += len(done)
    log = (work / f"{name}.log").read_text()
    title = f"run {number}, ZeRO {stage}: {'; '.join(done) or 'over before'}"
    check(title, code == 0, f"code {code}\n{log[-4000:]}")
    if code == 0:
        check(f"run {number}: losses, evaluations and adapter as undisturbed",
              is_as_alone(name), (metrics(name), metrics("alone")))
        wanted = sum("SIGTERM" not in what for what in done)
        check(f"run {number}: started anew no more often", log.count("graft launch: starting anew") <= wanted, log[-4000:])
        shutil.rmtree(work / name)

check("ranks were killed", disturbances >= options.count, disturbances)
runs.finish(f"kills: {disturbances} in {options.count} runs, all as undisturbed")

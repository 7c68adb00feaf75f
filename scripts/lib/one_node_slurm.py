"""A Slurm of one node for as long as a check runs: its own controller, node daemon and keys, in one directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ["slurmctld", "slurmd", "srun", "scontrol", "munged"]


def missing() -> str:
    """What keeps this machine from it; empty for nothing."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class OneNodeSlurm:
    """Daemons that end with the block."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.daemons: list[subprocess.Popen] = []
        self.environment = {**os.environ, "SLURM_CONF": str(directory / "slurm.conf")}

    def __enter__(self):
        for name in ("state", "spool", "munge"):
            (self.directory / name).mkdir(parents=True)
        key, place = self.directory / "munge.key", self.directory / "munge"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        place.chmod(0o755)
        munge = place / "socket"
        host = socket.gethostname().split(".")[0]
        cores = os.cpu_count() or 1
        lines = {
            "ClusterName": "one", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmUser": "root", "SlurmdUser": "root",
            "AuthType": "auth/munge", "AuthInfo": f"socket={munge}", "CredType": "cred/munge",
            "SlurmctldPort": free_port(), "SlurmdPort": free_port(), "StateSaveLocation": self.directory / "state",
            "SlurmdSpoolDir": self.directory / "spool", "SlurmctldPidFile": self.directory / "slurmctld.pid",
            "SlurmdPidFile": self.directory / "slurmd.pid", "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none", "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_CPU",
            "SchedulerType": "sched/builtin", "MpiDefault": "none", "SwitchType": "switch/none", "ReturnToService": 2,
            "InactiveLimit": 0, "SlurmctldTimeout": 60, "SlurmdTimeout": 60,
            "JobAcctGatherType": "jobacct_gather/none", "AccountingStorageType": "accounting_storage/none",
        }
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        # More processors than there are, as three ranks may have to share two.
        text += f"NodeName={host} NodeAddr=127.0.0.1 CPUs={max(4, cores)} State=UNKNOWN\n"
        text += f"PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES\n"
        text += "SlurmdParameters=config_overrides\n"
        (self.directory / "slurm.conf").write_text(text)
        version = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
        (self.directory / "cgroup.conf").write_text(f"CgroupPlugin=cgroup/{version}\n")
        self.start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}",
                   f"--pid-file={place}/munged.pid", f"--log-file={place}/munged.log", f"--seed-file={place}/seed")
        self.wait(lambda: munge.exists(), "munged")
        self.start("slurmctld", "-D", "-c")
        self.start("slurmd", "-D", "-N", host)
        self.wait(lambda: " idle" in self.run(["sinfo", "-h", "-o", "%n %t"]).stdout, "the node")
        return self

    def start(self, program: str, *words: str):
        log = open(self.directory / f"{program}.log", "w")
        self.daemons.append(subprocess.Popen([shutil.which(program), *words], env=self.environment, stdout=log,
                                             stderr=subprocess.STDOUT))

    def run(self, command: list[str], timeout: float = 60, **more):
        return subprocess.run(command, env={**self.environment, **more}, capture_output=True, text=True, timeout=timeout)

    def wait(self, is_there, what: str, seconds: float = 30):
        limit = time.time() + seconds
        while not is_there():
            if time.time() > limit or any(daemon.poll() is not None for daemon in self.daemons):
                logs = "".join(path.read_text()[-2000:] for path in self.directory.glob("*.log"))
                self.__exit__()
                raise RuntimeError(f"Slurm: {what} did not come\n{logs}")
            time.sleep(0.1)

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()

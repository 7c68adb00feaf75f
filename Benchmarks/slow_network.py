"""Machines on a network with a known delay and rate: network namespaces, joined by a program that holds packets back.

Needs root, iproute2 and TUN devices. It keeps to what it is told where the machine has time for it: some hundred Mbit/s.
"""

import fcntl
import heapq
import os
import select
import shutil
import signal
import struct
import subprocess
import time


def missing() -> str:
    """What keeps this machine from it; empty for nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    return "" if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun"


class SlowNetwork:
    """Namespaces `graft-m0`, ... with the addresses 10.92.0.1, ...; they end with the block."""

    def __init__(self, count: int, delay: float, rate: float):
        """`delay` in seconds each way, `rate` in bytes a second out of each machine."""
        self.count, self.delay, self.rate = count, delay, rate

    def __enter__(self):
        self.remove()
        self.devices = []
        for index in range(self.count):
            device = os.open("/dev/net/tun", os.O_RDWR)
            # TUNSETIFF with IFF_TUN and IFF_NO_PI: packets as they are.
            fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", f"graft-t{index}".encode(), 0x1001))
            os.set_blocking(device, False)
            self.devices.append(device)
            space = f"graft-m{index}"
            for words in (f"netns add {space}", f"link set graft-t{index} netns {space}",
                          f"-n {space} addr add 10.92.0.{index + 1}/24 dev graft-t{index}",
                          f"-n {space} link set graft-t{index} mtu 9000 txqueuelen 10000 up", f"-n {space} link set lo up"):
                subprocess.run(["ip", *words.split()], check=True)
        self.forwarder = os.fork()
        if self.forwarder == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                self.forward()
            finally:
                os._exit(0)
        for device in self.devices:
            os.close(device)
        return self

    def command(self, index: int, words: list) -> list:
        return ["ip", "netns", "exec", f"graft-m{index}", *map(str, words)]

    def forward(self):
        free = [0.0] * self.count  # When each machine's line has sent what it was given.
        held, number = [], 0
        places = {device: index for index, device in enumerate(self.devices)}
        while True:
            now = time.perf_counter()
            while held and held[0][0] <= now:
                _, _, target, packet = heapq.heappop(held)
                try:
                    os.write(self.devices[target], packet)
                except OSError:
                    pass  # As a network does that is full.
            # A line that is behind does not take more.
            ready = [device for device, index in places.items() if free[index] - now < 0.01]
            wait = min([held[0][0] - now] if held else [0.05])
            wait = min([wait, *(free[index] - now - 0.01 for device, index in places.items() if device not in ready)])
            for device in select.select(ready, [], [], max(0, wait))[0]:
                try:
                    packet = os.read(device, 65536)
                except BlockingIOError:
                    continue
                if len(packet) < 20 or packet[0] >> 4 != 4 or packet[16:19] != b"\x0a\x5c\x00":
                    continue
                target, source = packet[19] - 1, places[device]
                if not 0 <= target < self.count:
                    continue
                free[source] = max(free[source], time.perf_counter()) + len(packet) / self.rate
                number += 1
                heapq.heappush(held, (free[source] + self.delay, number, target, packet))

    def remove(self):
        for index in range(16):
            if os.path.exists(f"/run/netns/graft-m{index}"):
                subprocess.run(["ip", "netns", "del", f"graft-m{index}"], check=False)

    def __exit__(self, *_):
        os.kill(self.forwarder, signal.SIGKILL)
        os.waitpid(self.forwarder, 0)
        self.remove()

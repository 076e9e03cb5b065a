"""Starts, watches and ends the processes of a measurement, and reads what they cost. Nothing here outlives the script."""

import ctypes
import hashlib
import os
import pathlib
import resource
import signal
import socket
import subprocess
import time

START_SECONDS = 30  # for a server to listen; the Python gateway imports for several
STOP_SECONDS = 10  # for a server to end after SIGTERM
OPEN_FILES_WANTED = 65_536  # above 10,000 connections of one process, both ends


class CannotRun(Exception):
    """Something needed is missing or did not start."""


def child_setup(cores, yields=False):
    """For preexec_fn: pin to `cores`, own process group, and die with this script even if it is killed.

    `yields`: runs only while nothing else wants its core (SCHED_IDLE), and is preempted the moment something does. That
    works inside one session only (sched_autogroup weighs sessions against each other, whatever their policy), so that
    a process group has to do for keeping Ctrl-C away."""
    libc = ctypes.CDLL(None, use_errno=True)

    def setup():
        os.setpgid(0, 0)
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        os.sched_setaffinity(0, cores)
        if yields:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    return setup


class Servers:
    """Everything started, to be ended by process id whatever happens."""

    def __init__(self):
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()  # all at once, so that their drains overlap
        while self.started:
            self.stop(self.started[-1])

    def start(self, command, cores, log, yields=False, **more):
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=child_setup(cores, yields),
                **more,
            )
        process.log = log
        self.started.append(process)
        return process

    def stop(self, process):
        if process in self.started:
            self.started.remove(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def wait_for(what, process, probe, seconds=START_SECONDS):
    """Polls `probe` until it returns something, the process ends or the deadline passes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        result = probe()
        if result:
            return result
        time.sleep(0.02)
    log = pathlib.Path(process.log).read_text(errors="replace")[-2000:]
    raise CannotRun(f"{what} did not start; it said:\n{log}")


def accepts(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=0.5).close()
        return True
    except OSError:
        return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def raise_open_files():
    """As many open files as may be had, for this script and what it starts. Returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_WANTED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def children_of(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def cpu_seconds(pid):
    """CPU time of all threads of a process so far. The kernel brings a running thread's figure up to date at its next
    tick, so that one reading is exact to about 4 ms."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # a thread that ended meanwhile
    return total / 1e9


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise CannotRun(f"process {pid} has no memory: it ended")


def ended_children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def machine_busy_seconds():
    """CPU time used by anyone on this machine, and stolen by its host."""
    fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    hz = os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq) / hz, steal / hz


FIXED_WORK = bytes(256 << 10)


def fixed_work_ms():
    """CPU time of always the same work, the best of five: how fast the processor is right now. A host that takes time away
    without saying so, or a clock that drops, shows here and nowhere else."""
    times = []
    for _ in range(5):
        before = time.thread_time()
        hashlib.sha256(FIXED_WORK).digest()
        times.append((time.thread_time() - before) * 1e3)
    return min(times)

"""One run of the generator against one target, with everything that says whether it can be trusted."""

import dataclasses
import http.client
import json
import subprocess
import time

from . import processes
from .processes import CannotRun, cpu_seconds, ended_children_seconds, fixed_work_ms, machine_busy_seconds, rss_kib

GRACE_SECONDS = 40  # for a run beyond its planned length: answers may take the generator's time-out, 10 s
QUEUE_CALLS = 10_000_000  # more than are due in any run: a rate that is not kept is a result here


@dataclasses.dataclass(frozen=True)
class Load:
    """What the generator does in one run."""

    size: int  # bytes of result text
    connections: int
    seconds: float
    warmup: float
    rate: float | None = None  # calls per second in an open loop; None: closed loop
    arguments_bytes: int = 256
    era: str = "modern"
    compare_texts: bool = True  # every byte of every text; id, marker and form are checked in any case


@dataclasses.dataclass(frozen=True)
class Cores:
    """Who runs where. `mock` may be the generator's core: see `Manner`."""

    proxy: int
    load: int
    mock: int

    @property
    def shared(self):
        return self.load == self.mock


@dataclasses.dataclass(frozen=True)
class Manner:
    """How the generator waits."""

    polls: bool  # never sleeps, and is never late because of its own wake-up
    yields: bool  # loses its core to whatever else has something to do there

    @staticmethod
    def usual(load, cores):
        """Closed loop: sleeps. Open loop: polls. Next to a generator that never sleeps a mock server on the same core
        would wait for its turn, milliseconds; so the generator yields to it. See bench/arrangements.py."""
        polls = load.rate is not None
        return Manner(polls, polls and cores.shared)


def command_of(load, url, number, watched_pid, result, loadgen, polls):
    command = [loadgen, "run", "--url", url, "--era", load.era, "--connections", load.connections]
    command += ["--duration", load.seconds, "--warmup", load.warmup, "--size", load.arguments_bytes]
    command += ["--run", number, "--json", result, "--pid", watched_pid, "--no-self-test"]
    if load.compare_texts:
        command += ["--expect-size", load.size]
    # How late the generator was and what was never sent stands in the raw data; neither makes an answer wrong.
    tolerant = ["--send-lag-max-us", 10_000_000, "--queue", QUEUE_CALLS]
    command += ["--rate", f"{load.rate:.3f}", *tolerant] if load.rate else ["--closed"]
    if polls:
        command += ["--busy-poll"]
    return [str(word) for word in command]


def mock_counts(address):
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/stats")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def run(load, target, mock, cores, watched, number, loadgen, directory, manner=None):
    """Runs `load` against `target`. `watched` are the processes whose CPU time is ours, not a neighbour's."""
    mock_process, mock_address = mock
    result = directory / f"run-{number}.json"
    manner = manner or Manner.usual(load, cores)
    command = command_of(load, target.url, number, target.pid or mock_process.pid, result, loadgen, manner.polls)
    before, fixed_work = mock_counts(mock_address), fixed_work_ms()
    started, (busy, steal) = time.monotonic(), machine_busy_seconds()
    ours = sum(map(cpu_seconds, watched)) + ended_children_seconds() + time.process_time()
    on_load_core = cpu_seconds(mock_process.pid) + ended_children_seconds()
    said = finish(
        command, processes.child_setup({cores.load}, manner.yields), load.seconds + load.warmup + GRACE_SECONDS
    )
    elapsed, (busy_after, steal_after) = time.monotonic() - started, machine_busy_seconds()
    ours = sum(map(cpu_seconds, watched)) + ended_children_seconds() + time.process_time() - ours
    on_load_core = cpu_seconds(mock_process.pid) + ended_children_seconds() - on_load_core
    if not result.exists():
        raise CannotRun("the generator gave no result:\n" + said[-2000:])
    outcome = json.loads(result.read_text())
    result.unlink()
    after = mock_counts(mock_address)
    delta = {key: after[key] - before[key] for key in after}
    for key in ("url", "run", "timeline", "percentiles"):  # of this machine, or too long to keep
        del outcome[key]
    used = outcome.pop("process")  # of the mock server, if there is no proxy
    outcome.update(
        proxy=used if target.pid else None,
        tree_rss_kib=sum(map(rss_kib, target.pids)),
        calls_lost=max(0, outcome["sent"] - delta["distinct_markers"]),
        calls_repeated=delta["repeated_markers"],
        foreign_cores=round(max(0.0, busy_after - busy - ours) / elapsed, 3),
        load_core_busy=round(on_load_core / elapsed, 3),
        fixed_work_ms=round(fixed_work, 4),
        steal_cores=round((steal_after - steal) / elapsed, 3),
    )
    answered = not {"wrong_answers", "nothing_measured"} & set(outcome["invalid"])
    outcome["right"] = answered and outcome["calls_lost"] == 0 and outcome["calls_repeated"] == 0
    return outcome


def finish(command, setup, seconds):
    """Runs a command to its end; returns what it said. One that does not end in time is ended."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=setup
    ) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
            return said.decode(errors="replace")
        except subprocess.TimeoutExpired as error:
            raise CannotRun("the generator did not end in time") from error
        finally:
            if process.poll() is None:
                process.kill()


def idle_cores(target, seconds):
    """Share of one core that a target without any load uses."""
    before = sum(map(cpu_seconds, target.pids))
    started = time.monotonic()
    time.sleep(seconds)  # the measurement itself, not a wait for something
    return (sum(map(cpu_seconds, target.pids)) - before) / (time.monotonic() - started)

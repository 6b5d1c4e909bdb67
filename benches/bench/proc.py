"""Processes under measurement: started on one core, their CPU time and memory read from /proc, ended as a group."""

import os
import signal
import socket
import subprocess
import time
import urllib.request

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# Fields of /proc/PID/stat, counted after the command's closing parenthesis.
UTIME, STIME = 11, 12


def free_port():
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process=None, seconds=30):
    """Waits until something listens on a port; raises when the process ends first or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} after {seconds} s")


def wait_until(condition, seconds=30):
    """Waits until a condition holds; raises when time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not so within {seconds} s")
        time.sleep(0.05)


def start(core, command, log, cwd=None):
    """Starts a command pinned to a core, in a process group of its own, its output in a file."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, start_new_session=True,
        )


def stop(process, seconds=10):
    """Ends a process group, gently first."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            continue


def family(pid):
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
        except FileNotFoundError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{parent}/task/{task}/children") as children:
                    found.extend(int(child) for child in children.read().split())
            except FileNotFoundError:
                pass
    return found


def _stat(path):
    with open(path) as stat:
        text = stat.read()
    name = text[text.index("(") + 1:text.rindex(")")]
    fields = text[text.rindex(")") + 2:].split()
    return name, (int(fields[UTIME]) + int(fields[STIME])) / TICKS_PER_SECOND


def cpu_seconds(pid):
    """CPU time of a process and its descendants, threads that ended included."""
    total = 0.0
    for member in family(pid):
        try:
            total += _stat(f"/proc/{member}/stat")[1]
        except FileNotFoundError:
            pass
    return total


def cpu_seconds_of_threads(pid, prefix):
    """CPU time of the living threads whose name starts so."""
    total = 0.0
    for member in family(pid):
        try:
            for task in os.listdir(f"/proc/{member}/task"):
                name, seconds = _stat(f"/proc/{member}/task/{task}/stat")
                if name.startswith(prefix):
                    total += seconds
        except FileNotFoundError:
            pass
    return total


def resident_mib(pid):
    """Resident memory of a process and its descendants."""
    pages = 0
    for member in family(pid):
        try:
            with open(f"/proc/{member}/statm") as statm:
                pages += int(statm.read().split()[1])
        except FileNotFoundError:
            pass
    return pages * PAGE_BYTES / 2**20


def wait_for_ok(url, process, seconds=60):
    """Until this URL answers 200: a gate listens before it has recovered and takes calls."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{url} did not answer 200 within {seconds} s")

"""The servers: how each is started, with nothing in its way that the load does not need.

Each listens on a loopback port and keeps nothing on disk. What is not set here is at its default,
among it what a server does with those who do not read.
"""

import os
import re
import resource
import shutil
import socket
import subprocess
import time

CLIENTS = 20_000


class Server:
    """One server: its name, its protocol, where it comes from, and how it is started."""

    def __init__(self, name, protocol, program, command, package=None, version=None, load=None):
        self.name = name
        self.protocol = protocol
        self.program = program
        self.package = package
        self._command = command
        self._version = version
        self._load = load or {}

    def load_options(self, measure):
        """What the load has to do in another way with this server."""
        return self._load.get(measure, [])

    def version(self):
        """What it calls itself."""
        if self._version is None:
            return self.name
        result = subprocess.run([self.program, self._version], capture_output=True, text=True)
        found = re.search(r"\d+(\.\d+)+", result.stdout + result.stderr)
        return f"{self.name} {found.group()}" if found else self.name

    def start(self, folder, cpu, options=()):
        """Starts it on that CPU and waits until it listens."""
        port = free_port()
        command = [self.program, *self._command(folder, port), *options]
        log_path = os.path.join(folder, "log")
        with open(log_path, "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       cwd=folder, preexec_fn=lambda: prepare(cpu))
        deadline = time.monotonic() + 20
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                with open(log_path, errors="replace") as log:
                    said = log.read()[-800:].strip()
                raise Failure(f"{self.name} does not listen: {' '.join(command)} said: {said}")
            time.sleep(0.02)
        return Running(process, port)


class Running:
    """A server that was started."""

    def __init__(self, process, port):
        self.process = process
        self.port = port

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Failure(Exception):
    """Something that a measurement needs is not as it should be."""


def prepare(cpu):
    """In a new process: all the files that are allowed, and a CPU of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    """Whether somebody listens on that port; found out without connecting to it."""
    wanted = f":{port:04X}"
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table]
    return any(row[1].endswith(wanted) and row[3] == "0A" for row in rows)


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def chinwag(_folder, port):
    # Leaves some files for what is not a client.
    clients = str(CLIENTS - 100)
    return ["--quiet", "--listen", f"127.0.0.1:{port}", "--rate", "0",
            "--max-per-address", clients, "--max-connections", clients,
            "--max-sessions", clients, "--max-rooms", clients]


def floor(_folder, port):
    return [f"127.0.0.1:{port}"]


def ngircd(folder, port):
    config = write(folder, "ngircd.conf", f"""\
[Global]
Name = irc.example.net
Info = benchmark
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = hello
ServerUID = {os.getuid()}
ServerGID = {os.getgid()}
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
CloakUserToNick = yes
DNS = no
Ident = no
PAM = no
""")
    return ["--nodaemon", "--config", config]


def mosquitto(folder, port):
    config = write(folder, "mosquitto.conf", f"""\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_connections -1
set_tcp_nodelay true
log_type error
user root
""")
    return ["-c", config]


def nats(folder, port):
    config = write(folder, "nats.conf", f"""\
listen: 127.0.0.1:{port}
ping_interval: "1h"
logfile: "{folder}/nats.log"
""")
    return ["--config", config]


def redis(folder, port):
    config = write(folder, "redis.conf", f"""\
bind 127.0.0.1
port {port}
dir {folder}
save ""
appendonly no
maxclients {CLIENTS - 100}
tcp-backlog 4096
loglevel warning
""")
    return [config]


def all_servers(binaries):
    """All that can be compared; `binaries` are those that were built here, by name."""
    def found(program):
        return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")

    return [
        Server("floor", "floor", binaries["floor"], floor),
        Server("chinwag", "chinwag", binaries["chinwag"], chinwag, version="--version"),
        # ngircd sends whoever joins a channel the names of all in it: that takes minutes with
        # ten thousand in one.
        Server("ngircd", "irc", found("ngircd"), ngircd, "ngircd", "--version",
               {"idle": ["--rooms-of", "10"]}),
        Server("mosquitto", "mqtt", found("mosquitto"), mosquitto, "mosquitto", "-h"),
        Server("nats", "nats", found("nats-server"), nats, "nats-server", "--version"),
        Server("redis", "resp", found("redis-server"), redis, "redis-server", "--version"),
    ]

"""What is compared, and how each is started. Every server listens on 127.0.0.1, on one core unless said otherwise."""

import dataclasses
import json
import os
import pathlib
import pwd
import sys
import tomllib

from .processes import accepts, children_of, free_port, wait_for

BENCH = pathlib.Path(__file__).resolve().parent.parent
PEERS = BENCH / "peers"
RULES = BENCH.parent / "inspect/rules"
VARIANTS = {
    "direct": "generator straight to the mock server",
    "raw": "one monoio thread that copies bytes (bench/forwarder): the floor",
    "nginx": "nginx, pass-through, one worker, keep-alive upstream",
    "haproxy": "HAProxy, pass-through in mode http, one thread, keep-alive upstream",
    "tidegate-off": "Tidegate, `inspection: { mode: off }`, `audit: { enabled: false }`",
    "tidegate-off-audit": "Tidegate, `inspection: { mode: off }`, audit on (async)",
    "tidegate-detect": "Tidegate, `inspection: { mode: detect }`, `audit: { enabled: false }`",
    "tidegate-redact": "Tidegate, `inspection: { mode: redact }`, `audit: { enabled: false }`",
    "tidegate-full": "Tidegate with everything it has: `inspection: { mode: redact }`, audit on (async)",
    "python": "FastAPI, httpx and presidio-analyzer's pattern recognisers (bench/peers), one process, JSON log",
}
FULL, FLOOR, PEER, NAIVE = "tidegate-full", "raw", "nginx", "python"
# In the latency part only what a target or a reader asks for: the others lie between `off` and `full`.
LATENCY_VARIANTS = ["direct", "raw", "nginx", "haproxy", "tidegate-off", "tidegate-full", "python"]

# variant: mode of inspection, audit
GATEWAYS = {
    "tidegate-off": ("off", False),
    "tidegate-off-audit": ("off", True),
    "tidegate-detect": ("detect", False),
    "tidegate-redact": ("redact", False),
    "tidegate-full": ("redact", True),
}


@dataclasses.dataclass(frozen=True)
class Programs:
    """Paths of what is installed or built; None where something is not."""

    loadgen: str
    tidegate: str | None = None
    forwarder: str | None = None
    nginx: str | None = None
    haproxy: str | None = None
    python: str | None = None  # of the environment with bench/peers/requirements.txt

    def of(self, variant):
        """The program that `variant` needs, or None."""
        if variant in GATEWAYS:
            return self.tidegate
        return {"direct": self.loadgen, "raw": self.forwarder}.get(variant) or getattr(self, variant, None)


@dataclasses.dataclass(frozen=True)
class Target:
    """A started variant. `pid` is the process that does the work, `also` what belongs to it."""

    url: str
    pid: int | None = None
    also: tuple = ()

    @property
    def pids(self):
        return ([self.pid] if self.pid else []) + list(self.also)

    @property
    def address(self):
        """ip:port"""
        return self.url.removeprefix("http://").split("/", 1)[0]


def start_mock(servers, programs, cores, size, form, directory):
    addr_file = directory / "mock.addr"
    command = [programs.loadgen, "mock-upstream", "--listen", "127.0.0.1:0", "--addr-file", addr_file]
    command += ["--result-size", size, "--mode", form]
    process = servers.start(command, cores, directory / "mock.log")
    address = wait_for("mock-upstream", process, lambda: addr_file.exists() and addr_file.read_text())
    return process, address


def start(variant, servers, programs, cores, upstream, directory, arguments_bytes=256):
    """Starts one variant in front of `upstream`, everything it writes below `directory`."""
    if variant == "direct":
        return Target(f"http://{upstream}/mcp")
    home = directory / variant
    home.mkdir()
    if variant == "raw":
        return start_forwarder(servers, programs, cores, upstream, home)
    if variant == "nginx":
        return start_nginx(servers, programs, cores, upstream, home, arguments_bytes)
    if variant == "haproxy":
        return start_haproxy(servers, programs, cores, upstream, home)
    if variant == "python":
        return start_naive(servers, programs, cores, upstream, home)
    return start_tidegate(servers, programs, cores, gateway_config(upstream, *GATEWAYS[variant], home), home)[0]


def start_spinner(servers, cores, directory):
    """Keeps `cores` from going to sleep, and loses them to anything else the moment it has something to do. Without it a
    call pays once or twice for waking a sleeping virtual CPU, whatever the proxy is."""
    return servers.start([sys.executable, "-c", "while True: pass"], cores, directory / "spin.log", yields=True)


def start_forwarder(servers, programs, cores, upstream, home):
    addr_file = home / "addr"
    process = servers.start([programs.forwarder, upstream, addr_file], cores, home / "log")
    address = wait_for("the forwarder", process, lambda: addr_file.exists() and addr_file.read_text())
    return Target(f"http://{address}/mcp", process.pid)


NGINX_CONFIG = """\
{user}
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 8192; use epoll; }}
http {{
    access_log off;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size {body_buffer};
    proxy_max_temp_file_size 0;
    proxy_buffer_size 16k;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
    upstream mock {{
        server {upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen {address} backlog=4096;
        location = /mcp/mock {{
            proxy_pass http://mock/mcp;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def start_nginx(servers, programs, cores, upstream, home, arguments_bytes):
    address = f"127.0.0.1:{free_port()}"
    # A root master would give its worker to another user, who cannot enter the directory.
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    body_buffer = max(16 << 10, arguments_bytes + 8192)
    config = home / "nginx.conf"
    config.write_text(
        NGINX_CONFIG.format(dir=home, user=user, upstream=upstream, address=address, body_buffer=body_buffer)
    )
    command = [programs.nginx, "-e", home / "start.log", "-p", home, "-c", config]
    process = servers.start(command, cores, home / "log")
    wait_for("nginx", process, lambda: accepts(address))
    worker = wait_for("nginx worker", process, lambda: children_of(process.pid))
    return Target(f"http://{address}/mcp/mock", worker[0], (process.pid,))


# With http-reuse always, a client's connection is not tied to one of the server's, as with nginx and Tidegate.
HAPROXY_CONFIG = """\
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    http-reuse always
    option http-keep-alive
    timeout connect 5s
    timeout client 3600s
    timeout server 3600s
    timeout http-keep-alive 3600s
frontend clients
    bind {address}
    default_backend mock
backend mock
    http-request set-path /mcp
    server mock {upstream} pool-purge-delay 3600s
"""


def start_haproxy(servers, programs, cores, upstream, home):
    address = f"127.0.0.1:{free_port()}"
    config = home / "haproxy.cfg"
    config.write_text(HAPROXY_CONFIG.format(address=address, upstream=upstream))
    process = servers.start([programs.haproxy, "-db", "-f", config], cores, home / "log")
    wait_for("haproxy", process, lambda: accepts(address))
    return Target(f"http://{address}/mcp/mock", process.pid)


def start_naive(servers, programs, cores, upstream, home):
    """Its port is taken before it listens; a collision would be seen as its failure to start."""
    port = free_port()
    command = [programs.python, "-B", "-m", "uvicorn", "naive_gateway:app", "--host", "127.0.0.1", "--port", port]
    command += ["--workers", "1", "--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "3600"]
    settings = {"NAIVE_UPSTREAM": f"http://{upstream}/mcp", "NAIVE_LOG": str(home / "calls.jsonl")}
    process = servers.start(command, cores, home / "log", cwd=PEERS, env={**os.environ, **settings})
    wait_for("the Python gateway", process, lambda: accepts(f"127.0.0.1:{port}"))
    return Target(f"http://127.0.0.1:{port}/mcp/mock", process.pid)


def gateway_config(upstream, mode, audit, home, workers=1, server_count=1, more="", limits=""):
    """The gateway's configuration. All of `server_count` servers are the same one under names of their own: `mock`, `s1`..."""
    audit_text = f"dir: {home / 'audit'}" if audit else "enabled: false"
    names = ["mock"] + [f"s{n}" for n in range(1, server_count)]
    return (
        "listen: 127.0.0.1:0\n"
        "admin: off\n"
        f"workers: {workers}\n"
        "servers:\n"
        + "".join(f'  {name}: {{ url: "http://{upstream}/mcp" }}\n' for name in names)
        + f"inspection: {{ mode: {mode}{more} }}\n"
        f"audit: {{ {audit_text} }}\n" + (f"limits: {{ {limits} }}\n" if limits else "")
    )


def rule_ids():
    """Of all built-in rules."""
    return [rule["id"] for path in sorted(RULES.glob("*.toml")) for rule in tomllib.loads(path.read_text())["rule"]]


def without_rules():
    """For `more` of `gateway_config`: every built-in rule is off but one, because there has to be one."""
    return f", disabled_rules: [{', '.join(rule_ids()[1:])}]"


def start_tidegate(servers, programs, cores, config_text, home, **more):
    """Returns the target and its process. Further limits of the process can be given in `more`."""
    home.mkdir(exist_ok=True)
    config, addr_file = home / "tidegate.yaml", home / "addr"
    config.write_text(config_text)
    process = servers.start(
        [programs.tidegate, "run", "--config", config, "--addr-file", addr_file], cores, home / "log", **more
    )

    def address():
        try:
            return json.loads(addr_file.read_text())["mcp"]
        except (OSError, ValueError):
            return None

    return Target(f"http://{wait_for('tidegate', process, address)}/mcp/mock", process.pid), process

"""How each server under test, and the backend behind it, is configured and started."""

import http.client
import json
import shutil
import socket
import subprocess
from pathlib import Path

from . import proc
from .stores import Stores

ROOT = Path(__file__).resolve().parent.parent.parent
CONF = ROOT / "benches" / "conf"
KEY_HEADER = "Apifew-User-License-Key"
# Its shape means nothing to anybody but Tallygate, which makes its own.
FOREIGN_KEY = "bench_4f8a2b1c9d7e6f5a4b3c2d1e0f9a8b7c"
APP = "bench"
# Licenses that one call of the native API may create.
BULK = 10_000


class Backend:
    """The API behind all servers under test: nginx answering from memory."""

    def __init__(self, core, run):
        self.port = proc.free_port()
        self.process = start_nginx("backend.conf", core, run / "backend", LISTEN=self.port)
        proc.wait_for_port(self.port, self.process)

    def stop(self):
        """Ends it."""
        proc.stop(self.process)


class Server:
    """A server under test. Subclasses start `self.process` in `start`."""

    name = ""

    def __init__(self, core, run, backend, options):
        self.core, self.options, self.backend = core, options, backend
        self.run = run / self.name
        self.run.mkdir(parents=True)
        self.port = proc.free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.header = KEY_HEADER
        self.helpers = {}
        self.process = None
        self.keys = self.lines("keys", [FOREIGN_KEY])
        self.paths = self.lines("paths", ["/v1/items"])
        self.start()
        proc.wait_for_port(self.port, self.process)
        self.ready()

    def start(self):
        """Starts the process under measurement."""
        raise NotImplementedError

    def ready(self):
        """What is left to do once it listens."""

    @property
    def pid(self):
        """The process under measurement; its children belong to it."""
        return self.process.pid

    @property
    def helper_pids(self):
        """Other processes that it cannot do without, by name."""
        return {name: helper.pid for name, helper in self.helpers.items()}

    def statements(self):
        """Questions that its helpers were asked so far, by helper, where they count them."""
        return {}

    def stop(self):
        """Ends it and its helpers."""
        for process in [self.process, *self.helpers.values()]:
            proc.stop(process)

    def lines(self, name, lines):
        """Writes a file of lines for the load to read."""
        path = self.run / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


class Bare(Server):
    """Pingora alone, with Tallygate's allocator and runtime: the unit."""

    name = "bare"

    @property
    def program(self):
        """The binary under measurement."""
        return ROOT / "target/release/bare"

    def start(self):
        command = [self.program, f"127.0.0.1:{self.port}", f"127.0.0.1:{self.backend.port}"]
        self.process = proc.start(self.core, command, self.run / "log")


class Nginx(Server):
    """nginx as a plain proxy."""

    name = "nginx"

    def start(self):
        self.process = start_nginx("nginx.conf", self.core, self.run, LISTEN=self.port, BACKEND=self.backend.port)


class NginxLua(Server):
    """nginx with a meter in Lua and Redis beside it, on the same core as the rest of the server."""

    meter = ""

    def start(self):
        redis_port = proc.free_port()
        command = ["redis-server", "--port", redis_port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                   "--appendfsync", "everysec", "--dir", self.run]
        redis = proc.start(self.core, command, self.run / "redis.log")
        self.helpers["redis"] = redis
        proc.wait_for_port(redis_port, redis)
        subprocess.run(["redis-cli", "-p", str(redis_port), "set", f"key:{FOREIGN_KEY}", "1"],
                       check=True, stdout=subprocess.DEVNULL)
        self.process = start_nginx("nginx-lua.conf", self.core, self.run, LISTEN=self.port, BACKEND=self.backend.port,
                                   REDIS=redis_port, METER=self.meter, CONF=CONF)


class NginxLuaEach(NginxLua):
    """A look-up and a record in Redis for each call."""

    name = "lua-redis"
    meter = "meter_each"


class NginxLuaCached(NginxLua):
    """The key cached in the process, records sent to Redis by a timer."""

    name = "lua-cached"
    meter = "meter_cached"


class NginxLuaCount(NginxLua):
    """The key cached in the process, nothing but counts sent to Redis by a timer."""

    name = "lua-count"
    meter = "meter_count"


class Envoy(Server):
    """Envoy with static API keys and an access log."""

    name = "envoy"

    def start(self):
        conf = self.run / "envoy.yaml"
        conf.write_text(fill("envoy.yaml", LISTEN=self.port, BACKEND=self.backend.port, ADMIN=proc.free_port(),
                             RUN=self.run, KEY=FOREIGN_KEY))
        # The package's own command starts the program as a child; measured is the program itself.
        program = next((ROOT / "target/venv").glob("lib/python3*/site-packages/envoy/_bin/envoy*"))
        command = [program, "-c", conf, "--concurrency", "1", "--log-level", "warn", "--base-id",
                   str(self.port)]
        self.process = proc.start(self.core, command, self.run / "log")


class Tallygate(Server):
    """The real gate, with as many licenses and routes as asked for."""

    durability = ""

    @property
    def program(self):
        """The binary under measurement."""
        return ROOT / "target/release/tallygate"

    def start(self):
        self.control, self.metrics = proc.free_port(), proc.free_port()
        self.config = self.run / "gateway.toml"
        self.config.write_text(self.configuration())
        self.process = proc.start(self.core, self.command("run"), self.run / "log", cwd=self.run)
        proc.wait_for_ok(f"http://127.0.0.1:{self.metrics}/readyz", self.process)

    def ready(self):
        keys = [self.create_license(), *self.create_licenses(self.options.licenses - 1)]
        # Evenly spread over all, so that no more of them than asked for are hot.
        step = max(1, len(keys) // self.options.hot)
        self.keys = self.lines("keys", keys[::step])
        if self.options.routes > 1:
            self.paths = self.lines("paths", [f"/v1/r{route}/items" for route in range(self.options.routes)])

    def configuration(self):
        """The file of this gate: one proxy thread, every other key at its default."""
        routes = "".join(
            f'[[app.route]]\npath = "/v1/r{route}"\n' for route in range(self.options.routes)
        ) if self.options.routes > 1 else ""
        return f"""
[server]
listen = ["127.0.0.1:{self.port}"]
control = "127.0.0.1:{self.control}"
metrics = "127.0.0.1:{self.metrics}"
data_dir = "{self.run / 'data'}"
threads = 1

[journal]
durability = "{self.durability}"

[[app]]
name = "{APP}"
upstreams = ["http://127.0.0.1:{self.backend.port}"]
{getattr(self.options, "app_tables", "")}{routes}"""

    def command(self, *arguments):
        """A command line of the gate."""
        return [self.program, "--config", self.config, *arguments]

    def create_license(self):
        """A license without limits."""
        command = [str(part) for part in self.command("license", "create", "--app", APP, "--json")]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(result.stdout)["key"]

    def create_licenses(self, count):
        """So many licenses more, through the socket of the native API."""
        keys = []
        while len(keys) < count:
            many = min(BULK, count - len(keys))
            answer = self.post("/api/v1/licenses/bulk", {"licenses": [{"app": APP}] * many})
            keys += [created["key"] for created in answer["items"]]
        return keys

    def post(self, path, body):
        """One call of the native API over the Unix socket, whose permissions are the authentication."""
        connection = http.client.HTTPConnection("localhost", timeout=600)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.run / "data" / "tallygate.sock"))
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status >= 300:
            raise RuntimeError(f"{path}: {response.status} {text[:500]}")
        return json.loads(text)


class TallygateProcess(Tallygate):
    """Records survive kill -9."""

    name = "process"
    durability = "process"


class TallygateAgents(TallygateProcess):
    """`process` whose app decides on AI agents: what that costs the calls of people."""

    name = "process-agents"

    def configuration(self):
        return f"{super().configuration()}[app.agents]\n"


class TallygateDisk(Tallygate):
    """Records survive a power cut: the default."""

    name = "disk"
    durability = "disk"


class TallygateFleet(TallygateProcess):
    """One gate of a fleet: PostgreSQL of record and Redis, both on the core of the load."""

    name = "fleet"
    with_redis = True

    def start(self):
        self.stores = self.options.stores or Stores(self.options.load_core)
        self.helpers = dict(self.stores.processes)
        super().start()

    def configuration(self):
        app = super().configuration()
        node = app.replace("threads = 1", f'threads = 1\nnode = "{self.run.name}"', 1)
        redis = f'''
[redis]
url = "{self.stores.redis_url}"
timeout = "1s"
''' if self.with_redis else ""
        return f'''{node}
[store]
url = "{self.stores.postgres_url}"
{redis}'''

    def statements(self):
        return self.stores.statements()

    def stop(self):
        proc.stop(self.process)
        # Shared ones are their owner's to stop.
        if not self.options.stores:
            self.stores.stop()


class Other:
    """Another build of the gate, to see what a change is worth."""

    @property
    def program(self):
        """The binary that the command line names."""
        return self.options.other


class OtherBare(Bare):
    """Bare Pingora as the other build has it, beside its gate."""

    name = "other-bare"

    @property
    def program(self):
        return self.options.other.with_name("bare")


class OtherProcess(Other, TallygateProcess):
    """`process` of the other build."""

    name = "other-process"


class OtherDisk(Other, TallygateDisk):
    """`disk` of the other build."""

    name = "other-disk"


KINDS = {
    kind.name: kind
    for kind in (Bare, TallygateProcess, TallygateAgents, TallygateDisk, TallygateFleet, Nginx, NginxLuaCount, NginxLuaCached,
                 NginxLuaEach, Envoy, OtherBare, OtherProcess, OtherDisk)
}
# What runs unless told otherwise.
USUAL = [name for name in KINDS if name not in ("fleet", "process-agents") and not name.startswith("other-")]


def fill(template, **values):
    """A file of benches/conf with its @NAMES@ replaced."""
    text = (CONF / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def start_nginx(template, core, run, **values):
    """nginx with a configuration of ours and nothing of the system's."""
    run.mkdir(parents=True, exist_ok=True)
    conf = run / "nginx.conf"
    conf.write_text(fill(template, RUN=run, **values))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return proc.start(core, [program, "-c", conf, "-e", run / "error.log"], run / "log")

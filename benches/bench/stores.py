"""PostgreSQL and Redis of a fleet under measurement: private servers, their CPU time and the statements they were asked."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import proc

USER = "postgres"


class Stores:
    """One PostgreSQL and one Redis on a core, gone with their data when stopped."""

    def __init__(self, core):
        # Not in the run's own folder: PostgreSQL does not run as root, and its user may not look in there.
        self.folder = Path(tempfile.mkdtemp(prefix="tallygate-bench-"))
        self.postgres_port, self.redis_port = proc.free_port(), proc.free_port()
        self.processes = {}
        self.start_postgres(core)
        self.start_redis(core)

    def start_postgres(self, core):
        """A cluster with the extension that counts statements."""
        bin_folder = max(Path("/usr/lib/postgresql").glob("*/bin/initdb")).parent
        data = self.folder / "postgres"
        data.mkdir()
        prefix = []
        if os.geteuid() == 0:
            os.chmod(self.folder, 0o755)
            owner = pwd.getpwnam(USER)
            os.chown(data, owner.pw_uid, owner.pw_gid)
            prefix = ["setpriv", f"--reuid={USER}", f"--regid={owner.pw_gid}", "--clear-groups"]
        subprocess.run([*prefix, bin_folder / "initdb", "-D", data, "-U", USER, "--auth=trust", "-E", "UTF8"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/")
        settings = [f"port={self.postgres_port}", "listen_addresses=127.0.0.1", "unix_socket_directories=",
                    "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track_planning=off"]
        command = [*prefix, bin_folder / "postgres", "-D", data, *(word for one in settings for word in ("-c", one))]
        self.processes["postgres"] = proc.start(core, command, self.folder / "postgres.log", cwd="/")
        proc.wait_for_port(self.postgres_port, self.processes["postgres"])
        self.psql = [bin_folder / "psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", self.postgres_url]
        proc.wait_until(lambda: self.ask("SELECT 1", check=False) == "1")
        self.ask("CREATE EXTENSION pg_stat_statements")

    def start_redis(self, core):
        """An empty Redis that keeps nothing on the disk and evicts nothing."""
        command = ["redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.processes["redis"] = proc.start(core, command, self.folder / "redis.log", cwd=self.folder)
        proc.wait_for_port(self.redis_port, self.processes["redis"])

    @property
    def postgres_url(self):
        """For libpq and for `[store] url`."""
        return f"postgres://{USER}@127.0.0.1:{self.postgres_port}/postgres"

    @property
    def redis_url(self):
        """For `[redis] url`."""
        return f"redis://127.0.0.1:{self.redis_port}"

    def ask(self, sql, check=True):
        """What psql prints for a statement."""
        result = subprocess.run([*self.psql, "-c", sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                check=check)
        return result.stdout.strip()

    def statements(self):
        """Statements of PostgreSQL (those of this question too) and commands of Redis so far."""
        info = subprocess.run(["redis-cli", "-p", str(self.redis_port), "info", "stats"], stdout=subprocess.PIPE,
                              text=True, check=True).stdout
        commands = next(line for line in info.splitlines() if line.startswith("total_commands_processed:"))
        return {
            "postgres": int(self.ask("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE toplevel")),
            "redis": int(commands.split(":")[1]),
        }

    def stop(self):
        """Ends both and removes their data."""
        for process in self.processes.values():
            proc.stop(process)
        shutil.rmtree(self.folder, ignore_errors=True)

"""Drives AuthForge's SDK for Python: each line of the standard input is a command, answered by a line of JSON.

The argument is the JSON object of what the client is built with. An answer is {"ok": …} or {"code": …}, the code by which the SDK
tells what went wrong.
"""

import json
import sys

import authforge


class Driver:
    """A client, and what it was told in the background."""

    def __init__(self, settings):
        self.failures = []
        interval = settings.pop("interval", None)
        self.client = authforge.AuthForgeClient(on_failure=self.failed, **settings)
        if interval is not None:
            # The constructor takes no less than ten seconds.
            self.client.heartbeat_interval = interval

    def failed(self, reason, error):
        """Keeps what the SDK reports. Without this, a failed log-in ends the process."""
        self.failures.append({"reason": reason, "code": getattr(error, "code", str(error))})

    def login(self, key):
        """Logs in, and gives what the session says."""
        if self.client.login(key):
            return self.session()
        raise authforge.AuthForgeError(self.failures.pop()["code"])

    def session(self):
        """The signed part of the newest answer; None without a session."""
        return self.client.get_session_data()

    def validate(self, key):
        """Validates without a session."""
        result = self.client.validate_license(key)
        if not result["valid"]:
            raise authforge.AuthForgeError(result["code"])
        return result["session_data"]

    def is_authenticated(self):
        """Whether there is a session."""
        return self.client.is_authenticated()

    def told(self):
        """The codes of what was reported in the background."""
        return [failure["code"] for failure in self.failures if failure["reason"] == "heartbeat_failed"]

    def ban(self, key, revoke):
        """Bans the device."""
        self.client.self_ban(license_key=key, revoke_license=revoke, blacklist_ip=False)

    def activate(self, key, path):
        """Has an offline file made and logs in with it."""
        self.client.activate_offline(key, path)

    def login_from_file(self, path):
        """Logs in with an offline file."""
        if not self.client.login_from_file(path):
            raise authforge.AuthForgeError(self.failures.pop()["code"])
        return self.session()

    def request(self):
        """The activation request of this device."""
        return self.client.create_activation_request()

    def take(self, line):
        """Carries out a command."""
        command, *arguments = json.loads(line)
        try:
            return {"ok": getattr(self, command)(*arguments)}
        except authforge.AuthForgeError as error:
            return {"code": error.code}
        except ValueError as error:
            return {"code": str(error)}


def main():
    """Serves until the input ends."""
    driver = Driver(json.loads(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(driver.take(line)), flush=True)


if __name__ == "__main__":
    main()

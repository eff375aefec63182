"""Below a path of a real nginx, whose other settings are those of deploy/nginx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
from websockets.sync.client import connect

from ..cli.conftest import Dockrion
from ..servers.redis import free_port
from .conftest import DEADLINE, DEPLOY, SERVICE, nginx_running, rendered

PREFIX = "/agents/mine"
HEADER = f"proxy_set_header X-Forwarded-Prefix {PREFIX};"
PROTO = "proxy_set_header X-Forwarded-Proto $scheme;"

# How a proxy passes requests on, and what the server is told: by the proxy, or by its own Dockfile.
WAYS = {
    "header": (f"{PROTO}\n{HEADER}", "http://dockrion/;", "trusted_proxies: [127.0.0.1]"),
    "stripped": (PROTO, "http://dockrion/;", "public_url: '{url}'"),
    "kept": (PROTO, "http://dockrion;", "public_url: '{url}'"),
}


@pytest.fixture(params=WAYS)
def below(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Serve an agent at a path of nginx; returns its address."""
    header, passed_to, key = WAYS[request.param]
    port = free_port()
    url = f"http://127.0.0.1:{port}{PREFIX}"
    expose = f"streaming: [sse, websocket], protocols: [a2a], {key.format(url=url)}"
    dockrion = Dockrion(tmp_path / "served")
    text = f"agent: {{name: below, handler: service:handle}}\nexpose: {{{expose}}}\n"
    text += "streaming: {async_runs: true}\n"
    dockrion.project({"service.py": SERVICE, "Dockfile.yaml": text})
    with ExitStack() as stack:
        served = stack.enter_context(dockrion.run())
        configuration = rendered(
            (DEPLOY / "nginx" / "nginx.conf").read_text(),
            {
                "/tmp/": f"{tmp_path}/",
                "listen 8080;": f"listen 127.0.0.1:{port};",
                "listen 8443 ssl http2;": "",
                "ssl_certificate     /etc/nginx/tls/tls.crt;": "",
                "ssl_certificate_key /etc/nginx/tls/tls.key;": "",
                "server server1:8080;": f"server {served.url.removeprefix('http://')};",
                "server server2:8080;": "",
                "/dev/stdout": f"{tmp_path}/access.log",
                PROTO: header,
                "location / {\n            proxy_pass http://dockrion;": (
                    f"location {PREFIX}/ {{\n            proxy_pass {passed_to}"
                ),
            },
        )
        stack.enter_context(nginx_running(configuration, tmp_path, port))
        yield url


def test_every_address_leads_back_through_the_proxy(below: str) -> None:
    origin = below.removesuffix(PREFIX)
    with httpx.Client(timeout=DEADLINE) as client:
        made = client.post(f"{below}/runs", json={}, params={"run_id": "mine"})
        assert made.status_code == 202, made.text
        assert made.json()["events_url"] == f"{PREFIX}/runs/mine/events"
        assert client.get(origin + made.headers["location"]).json()["run_id"] == "mine"
        with httpx_sse.connect_sse(client, "GET", origin + made.json()["events_url"]) as source:
            assert [event.event for event in source.iter_sse()][-1] == "complete"
        ticket = client.post(f"{below}/runs/mine/ticket").json()
        assert ticket["ws_url"] == f"{PREFIX}/runs/mine/ws"
        page = client.get(f"{below}/docs").text
        for attribute in ('src="', 'href="/', 'data-document="'):
            path = page.partition(attribute)[2].partition('"')[0]
            path = f"/{path.lstrip('/')}"
            assert path.startswith(PREFIX), path
            assert client.get(origin + path).status_code == 200, path
        (server,) = client.get(f"{below}/docs/openapi.json").json()["servers"]
        assert server["url"] in (PREFIX, below)
        card: dict[str, Any] = client.get(f"{below}/.well-known/agent-card.json").json()
        assert card["url"] == f"{below}/a2a"
        assert client.get(f"{below}/").status_code == 200
        assert client.get(f"{below}/playground/main.js").status_code == 200
        assert client.post(f"{below}/invoke", json={}, headers={"Origin": origin}).status_code == 200
        assert client.post(f"{below}/invoke", json={}, headers={"Origin": "http://evil"}).status_code == 403
    with connect(f"{origin.replace('http', 'ws', 1)}{ticket['ws_url']}") as socket:
        assert json.loads(socket.recv(DEADLINE))["type"] == "started"

"""compose.yaml and the Kubernetes manifests: well-formed, and of one mind with the Dockfile and nginx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from dockrion_events.bus.redis import RedisBackend
from dockrion_sdk import Dockfile, load_dockfile

from ..servers import RedisServer
from .conftest import DEPLOY

MANIFESTS = ("deployment.yaml", "service.yaml", "disruption-budget.yaml")
NEEDED = ("REDIS_URL", "DOCKRION_API_KEY")


def read(*path: str) -> Any:
    return YAML(typ="safe").load(DEPLOY.joinpath(*path))


@pytest.fixture
def dockfile(monkeypatch: pytest.MonkeyPatch) -> Dockfile:
    for name in NEEDED:
        monkeypatch.setenv(name, "redis://redis:6379" if name == "REDIS_URL" else "name:key")
    return load_dockfile(DEPLOY / "agent" / "Dockfile.yaml")


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = read("compose.yaml")["services"]
    return found


@pytest.fixture
def pod() -> dict[str, Any]:
    found: dict[str, Any] = read("kubernetes", "deployment.yaml")["spec"]["template"]["spec"]
    return found


# -- compose ---------------------------------------------------------------------------------------


def test_nginx_sends_to_the_servers_there_are(services: dict[str, Any], dockfile: Dockfile) -> None:
    text = (DEPLOY / "nginx" / "nginx.conf").read_text()
    upstreams = set(re.findall(r"^\s+server (\S+:\d+);", text, re.M))
    servers = [name for name, service in services.items() if "build" in service]
    assert len(servers) == 2
    assert upstreams == {f"{name}:{dockfile.expose.port}" for name in servers}
    listens = set(re.findall(r"listen (\d+)", text))
    assert {port.split(":")[1] for port in services["nginx"]["ports"]} == listens
    mounted = {volume.split(":")[1] for volume in services["nginx"]["volumes"]}
    certificates = re.findall(r"ssl_certificate(?:_key)?\s+(\S+);", text)
    assert mounted == {"/etc/nginx/nginx.conf"} | {str(Path(file).parent) for file in certificates}
    assert set(re.findall(r"/tmp(?=/)", text)) <= set(services["nginx"]["tmpfs"])


def test_each_server_has_what_its_dockfile_needs(services: dict[str, Any], dockfile: Dockfile) -> None:
    required = {secret.name for secret in dockfile.secrets.required}
    assert required == set(NEEDED)
    for name in ("server1", "server2"):
        service = services[name]
        assert set(service["environment"]) == required
        assert service["environment"]["REDIS_URL"] == "redis://redis:6379"
        assert service["environment"]["DOCKRION_API_KEY"].startswith("${DOCKRION_API_KEY:?")
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert seconds(service["stop_grace_period"]) > dockfile.expose.shutdown_grace + 2
        assert service["init"]


def test_services_wait_for_those_that_say_when_they_are_healthy(services: dict[str, Any]) -> None:
    image = (DEPLOY / "Dockerfile").read_text()
    for service in services.values():
        for other, when in service.get("depends_on", {}).items():
            assert when == {"condition": "service_healthy"}
            assert "healthcheck" in services[other] or ("build" in services[other] and "HEALTHCHECK" in image)


async def test_the_redis_of_compose_is_one_that_dockrion_is_content_with(
    services: dict[str, Any], tmp_path: Path
) -> None:
    program, *options = services["redis"]["command"]
    assert program == "redis-server"
    settings = {name.removeprefix("--"): value for name, value in zip(*[iter(options)] * 2, strict=True)}
    assert settings == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    with RedisServer(tmp_path, **settings) as server:
        backend = RedisBackend(server.url, prefix="t:")
        assert await backend.open() == [], "it warns of a Redis that would lose runs"
        await backend.close()


# -- Kubernetes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_fit_the_schemas_of_kubernetes(name: str) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(read("kubernetes", name), version, strict=True)


def test_the_kustomization_has_every_manifest() -> None:
    assert tuple(read("kubernetes", "kustomization.yaml")["resources"]) == MANIFESTS
    found = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert found == {*MANIFESTS, "kustomization.yaml"}


def test_a_pod_has_the_time_that_its_dockfile_gives(pod: dict[str, Any], dockfile: Dockfile) -> None:
    (container,) = pod["containers"]
    pause = int(re.findall(r"sleep\((\d+)\)", container["lifecycle"]["preStop"]["exec"]["command"][-1])[0])
    assert pod["terminationGracePeriodSeconds"] >= pause + dockfile.expose.shutdown_grace + 5


def test_a_pod_is_probed_where_the_server_answers(pod: dict[str, Any], dockfile: Dockfile) -> None:
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": dockfile.expose.port}]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/ready",
        "readiness": "/ready",
        "liveness": "/health",
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}
    service = read("kubernetes", "service.yaml")["spec"]
    assert service["ports"][0]["targetPort"] == "http"


def test_a_pod_has_the_secrets_and_no_rights(pod: dict[str, Any], dockfile: Dockfile) -> None:
    (container,) = pod["containers"]
    taken = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container["env"]}
    assert set(taken) == {secret.name for secret in dockfile.secrets.required}
    assert all(ref == {"name": "my-agent", "key": name} for name, ref in taken.items())
    assert container["securityContext"]["readOnlyRootFilesystem"]
    user = pod["securityContext"]["runAsUser"]
    assert f"USER {user}:{pod['securityContext']['runAsGroup']}" in (DEPLOY / "Dockerfile").read_text()


def test_labels_select_the_pods() -> None:
    deployment = read("kubernetes", "deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert read("kubernetes", "service.yaml")["spec"]["selector"] == labels
    budget = read("kubernetes", "disruption-budget.yaml")["spec"]
    assert budget["selector"]["matchLabels"] == labels
    assert budget["minAvailable"] < deployment["spec"]["replicas"]


def test_the_limit_of_bodies_is_the_servers(dockfile: Dockfile) -> None:
    text = (DEPLOY / "nginx" / "nginx.conf").read_text()
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(megabytes) * 1024 * 1024 > dockfile.expose.max_body_bytes


# -- times -----------------------------------------------------------------------------------------


def test_nginx_waits_longer_than_the_server_is_silent(dockfile: Dockfile) -> None:
    text = (DEPLOY / "nginx" / "nginx.conf").read_text()
    others, executing = (seconds(time) for time in re.findall(r"proxy_read_timeout (\S+);", text))
    assert others >= 3 * dockfile.streaming.events.heartbeat_interval
    assert executing > dockfile.streaming.events.max_run_duration
    (send,) = re.findall(r"\ssend_timeout (\S+);", text)
    assert seconds(send) > dockfile.expose.limits.unread_seconds


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text.removesuffix("s"))

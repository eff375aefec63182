"""The image's steps, taken one by one without an engine, and the process that it would start.

Dependencies come from this environment, since fetching them is not what is tried here; the base image and
the user it adds are not tried at all.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import site
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ..servers import RedisServer
from ..servers.redis import free_port
from .conftest import DEADLINE, DEPLOY, until

ROOT = DEPLOY.parent
ADDS_USER = "useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin agent"


def instructions() -> list[list[tuple[str, str]]]:
    """Return the Dockerfile's stages, each a list of instructions with the rest of their lines."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    stages: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            if name == "FROM":
                stages.append([])
            stages[-1].append((name, rest))
    return stages


def one(stage: list[tuple[str, str]], name: str) -> str:
    """Return the rest of the only instruction of this name."""
    (found,) = [rest for instruction, rest in stage if instruction == name]
    return found


def test_the_final_image_is_slim_and_has_neither_root_nor_tools() -> None:
    build, final = instructions()
    assert one(build, "FROM") == "python:3.12-slim-bookworm AS build"
    assert one(final, "FROM") == "python:3.12-slim-bookworm"
    assert [rest for name, rest in final if name == "RUN"] == [
        f"python -m pip uninstall --yes pip && {ADDS_USER}"
    ]
    assert {rest.split()[0] for name, rest in final if name == "COPY"} == {"--from=build"}
    assert one(final, "USER") == "10001:10001"


def test_the_context_leaves_out_secrets_and_the_rest(tmp_path: Path) -> None:
    patterns = (ROOT / ".dockerignore").read_text().split()
    assert {".git", "**/.env", "deploy/nginx/tls"} <= set(patterns)


@pytest.mark.skipif(os.name != "posix", reason="an image for Linux")
def test_the_steps_make_a_server_that_is_healthy_and_ends_when_told(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    build, final = instructions()
    arguments = dict(rest.split("=") for name, rest in build if name == "ARG")
    ours = Path(sys.executable).parent
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))},
        "PATH": f"{ours}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # that is how pip spells it
    }
    for name, rest in build:
        line = here(re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], rest), tmp_path)
        if name == "COPY":
            source, target = line.split()
            shutil.copytree(ROOT / source, target, ignore=_ignored)
        elif name == "ENV":
            env.update(dict(item.split("=", 1) for item in shlex.split(line)))
        elif name == "RUN":
            subprocess.run(line, shell=True, env=env, check=True, timeout=DEADLINE, cwd=tmp_path)
            _lend_packages(tmp_path / "opt/venv")

    settings = dict(item.split("=", 1) for item in shlex.split(one(final, "ENV")))
    path = here(settings.pop("PATH"), tmp_path).replace("$PATH", os.environ["PATH"])
    _, _, check = one(final, "HEALTHCHECK").partition("CMD ")
    env = {**settings, "PATH": path, "PORT": str(free_port()), "REDIS_URL": redis_server.url}
    env["DOCKRION_API_KEY"] = "name:key"
    folder = here(one(final, "WORKDIR"), tmp_path)

    def healthy() -> bool:
        done = subprocess.run(json.loads(check), env=env, capture_output=True, timeout=DEADLINE, check=False)
        return done.returncode == 0

    assert settings["PORT"] == one(final, "EXPOSE") == "8080"
    assert not healthy()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(json.loads(one(final, "CMD")), env=env, cwd=folder, stdout=log, stderr=log)
    try:
        until(lambda: healthy() or process.poll() is not None, "the server's health")
        assert process.poll() is None, (tmp_path / "log").read_text()
        loaded = subprocess.run(
            ["python", "-c", "import dockrion_runtime; print(dockrion_runtime.__file__)"],
            env=env, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert loaded.startswith(str(tmp_path)), "the server is the one that was built"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()


def here(text: str, root: Path) -> str:
    """Return a line with the image's folders moved under ``root``."""
    return re.sub(r"(?<![\w.])/(src|agent|opt)\b", rf"{root}/\1", text)


def _ignored(folder: str, names: list[str]) -> set[str]:
    patterns = [line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().split()]
    return set(shutil.ignore_patterns(*patterns)(folder, names))


def _lend_packages(venv: Path) -> None:
    """Let the image's environment see the packages of this one behind its own."""
    for own in venv.glob("lib/python*/site-packages"):
        (own / "lent.pth").write_text("\n".join(site.getsitepackages()))


def test_the_agent_has_what_the_image_gives() -> None:
    dockfile = YAML(typ="safe").load(DEPLOY / "agent" / "Dockfile.yaml")
    assert dockfile["expose"]["port"] == "${PORT:-8080}"
    assert (DEPLOY / "agent" / "requirements.txt").is_file()

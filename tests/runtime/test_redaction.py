"""Secrets in the texts of failures: in whatever form, and however long the text is."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from dockrion_runtime.redaction import Redactor, redactor
from dockrion_sdk import Dockfile

ENV = {
    "DATABASE_URL": "postgres://app:p%40ss/w0rd-xyz@db:5432/x",
    "DB_PASS": "hunter2",
    "DB_PWD": "correcthorse",
    "SENTRY_DSN": "https://abcdef0123456789abcdef0123456789@o1.ingest.sentry.io/1",
    "API_TOKEN": 'tok"en\\x\n1',
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "PGPASSWORD": "pgpw-12",
    "MONGO": "mongodb://u:mongopw1@h/",
    "STORAGE": "DefaultEndpointsProtocol=https;AccountKey=Zm9vYmFyYmF6cXV4;Endpoint=x",
    "ODBC": "Driver=x;Uid=sa;Pwd=odbcpass;",
    "MY_CREDENTIALS": "cred-123456",
}
SECRETS = [
    "p%40ss/w0rd-xyz",
    "p@ss/w0rd-xyz",
    "hunter2",
    "correcthorse",
    "abcdef0123456789abcdef0123456789",
    ENV["API_TOKEN"],
    ENV["AWS_SECRET_ACCESS_KEY"],
    "pgpw-12",
    "mongopw1",
    "Zm9vYmFyYmF6cXV4",
    "odbcpass",
    "cred-123456",
]
FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "quoted": lambda secret: quote(secret, safe=""),
    "form": quote_plus,
    "twice quoted": lambda secret: quote(quote(secret, safe=""), safe=""),
    "repr": lambda secret: repr(secret)[1:-1],
    "json": lambda secret: json.dumps(secret)[1:-1],
    "in a url": lambda secret: f"amqp://u:{secret}@host/",
    "basic": lambda secret: "Basic " + base64.b64encode(b"user:" + secret.encode()).decode(),
}


@pytest.fixture(scope="module")
def redact() -> Redactor:
    agent = {"name": "a", "handler": "app:handle"}
    return redactor(Dockfile.model_validate({"agent": agent}), ENV)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_recognised_in_each_form(redact: Redactor, secret: str, form: str) -> None:
    spelt = FORMS[form](secret)
    told = redact(f"failed with <{spelt}> just now")
    assert spelt not in told
    assert "***" in told
    assert told.startswith("failed with <")
    assert told.endswith("> just now")


@pytest.mark.parametrize("before", ["", "u:", "us:", "use:"])
def test_base64_is_recognised_wherever_the_secret_begins(redact: Redactor, before: str) -> None:
    coded = base64.b64encode(f"{before}correcthorse&more".encode()).decode()
    told = redact(f"sent {coded}")
    assert "***" in told
    assert base64.b64encode(b"correcthorse").decode()[4:12] not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see postgres://me:unknown-one@db/x", "see postgres://me:***@db/x"),
        ("see http://localhost:8080/a@b", "see http://localhost:8080/a@b"),
        ("mail me@example.com at 10:30", "mail me@example.com at 10:30"),
        ("clone https://0123456789abcdef0123@git/x", "clone https://***@git/x"),
        ("key sk-proj-abcdefghijklmnop was refused", "key *** was refused"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_def", "token ***"),
        ("host=db password=s3cr3tive user=me", "host=db password=*** user=me"),
        ('{"password": "s3cr3tive", "user": "me"}', '{"password": "***", "user": "me"}'),
        ("no password was given", "no password was given"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str, told: str) -> None:
    assert Redactor([])(text) == told


def test_ordinary_variables_are_no_secrets() -> None:
    env = {"PWD": "/work/project", "TOKEN_FILE": "/run/token", "MAX_TOKENS": "tokens", "USE_AUTH": "true"}
    agent = {"name": "a", "handler": "app:handle"}
    redact = redactor(Dockfile.model_validate({"agent": agent}), env)
    assert redact("in /work/project by /run/token: true") == "in /work/project by /run/token: true"


@pytest.mark.parametrize("piece", ["a:b@ ://x:y ", "eyJ-", "sk-", "Basic ", "password=", "x" * 100])
def test_a_long_text_costs_little_and_shows_no_part_of_a_secret(redact: Redactor, piece: str) -> None:
    text = piece * (4_000_000 // len(piece))
    half = 128 * 1024
    secret = ENV["AWS_SECRET_ACCESS_KEY"]
    cut = text[: half - 20] + secret + text[half + 20 : -half - 20] + secret + text[-half + 20 :]
    begun = time.process_time()
    told = redact(cut)
    assert time.process_time() - begun < 2
    assert len(told) < 300_000
    assert secret[:10] not in told
    assert secret[-10:] not in told

"""Secrets in the texts of failures: in whatever form, and however long the text is."""

from __future__ import annotations

import base64
import html
import json
import time
import unicodedata
from collections.abc import Callable
from typing import Literal
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
    "bytes": lambda secret: repr(secret.encode())[2:-1],
    "hex": lambda secret: secret.encode().hex(),
    "html": html.escape,
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
        ("db_password=s3cr3tive", "db_password=***"),
        ("PGPASSWORD=s3cr3tive psql", "PGPASSWORD=*** psql"),
        ("{'db_password': 's3cr3,t ive', 'port': 5}", "{'db_password': '***', 'port': 5}"),
        ("connect(password=b's3cr3tive')", "connect(password=b'***')"),
        (r'{"e": "{\"password\": \"s3cr3tive\"}"}', r'{"e": "{\"password\": \"***\"}"}'),
        ("clientSecret: 's3cr3tive'", "clientSecret: '***'"),
        ("GET /x?access_token=s3cr3tive&a=1", "GET /x?access_token=***&a=1"),
        ("GET /x?sv=1&sig=s3cr3tive%3D&a=1", "GET /x?sv=1&sig=***&a=1"),
        ("postgres://me:un/kno#wn?1@db/x", "postgres://me:***@db/x"),
        ("no password was given", "no password was given"),
        ("max_tokens=4096 and secretary: 'anna'", "max_tokens=4096 and secretary: 'anna'"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str, told: str) -> None:
    assert Redactor([])(text) == told


def test_a_line_of_a_secret_and_a_secret_without_its_line_end_are_recognised() -> None:
    redact = Redactor(["first-line-1\nsecond-line-2\n", "short1\n"])
    assert redact("a second-line-2, and short1") == "a ***, and ***"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_secret_is_recognised_however_its_letters_are_composed(form: Literal["NFC", "NFD"]) -> None:
    redact = Redactor(["pässwörd-1"])
    assert redact(f"<{unicodedata.normalize(form, 'pässwörd-1')}>") == "<***>"


def test_ordinary_variables_are_no_secrets() -> None:
    env = {"PWD": "/srv/project", "TOKEN_FILE": "/run/token", "MAX_TOKENS": "tokens", "USE_AUTH": "true"}
    agent = {"name": "a", "handler": "app:handle"}
    redact = redactor(Dockfile.model_validate({"agent": agent}), env)
    assert redact("in /srv/project by /run/token: true") == "in /srv/project by /run/token: true"


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

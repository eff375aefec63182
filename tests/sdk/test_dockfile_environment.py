"""`${NAME}` and secrets: what is inserted, what is missed, and that no value is ever shown."""

from __future__ import annotations

import os
import pickle
import traceback

import pytest

from dockrion_sdk import DockfileError, load_dockfile

from .conftest import AGENT, Load, Refused

CANARY = "c4n4ry-7f3a"


@pytest.mark.parametrize(
    ("template", "env", "expected"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("<${A}${B}>", {"A": "x", "B": "y"}, "<xy>"),
        ("${A}", {"A": ""}, ""),
        ("${A:-d}", {}, "d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A:-d}", {"A": "x"}, "x"),
        ("${A:-}", {}, ""),
        ("${A:-a:-b c}", {}, "a:-b c"),
        ("${A:-http://h:1/?q=$x}", {}, "http://h:1/?q=$x"),
        ("${_a1}", {"_a1": "x"}, "x"),
        ("${A}", {"A": "${B}", "B": "no"}, "${B}"),
        ("${A}", {"A": "12"}, "12"),
        ("$A $ {A} {A} $", {"A": "no"}, "$A $ {A} {A} $"),
        ("$${A} ${A}", {"A": "x"}, "${A} x"),
        ("ü${A}ü", {"A": "ü"}, "üüü"),
    ],
)
def test_substitution(load_text: Load, template: str, env: dict[str, str], expected: str) -> None:
    text = f"agent: {{name: a, handler: 'm:f', description: '{template}'}}"
    assert load_text(text, env).agent.description == expected


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("${A", "`${` is never closed; write ${NAME} or ${NAME:-default}"),
        ("x ${A:-d", "`${` is never closed"),
        ("${}", "'' is not the name of a variable; write ${NAME}"),
        ("${1A}", "'1A' is not the name of a variable"),
        ("${ A }", "' A ' is not the name of a variable"),
        ("${A-d}", "'A-d' is not the name of a variable"),
        ("${A:?no}", "'A:?no' is not the name of a variable"),
        ("${A.b}", "'A.b' is not the name of a variable"),
        ("${A}", "environment variable A is not set; set it, or give a default: ${A:-default}"),
        ("${A:-${B}}", "the default of ${A} holds another `${`"),
    ],
)
def test_what_cannot_be_substituted(refused: Refused, template: str, told: str) -> None:
    error = refused(f"agent: {{name: a, handler: 'm:f', description: '{template}'}}")
    assert str(error).startswith(f"Dockfile.yaml:1: agent.description: {told}")
    assert len(error.problems) == 1


def test_values_only_and_wherever_they_are(load_text: Load) -> None:
    text = AGENT + "io_schema: {input: {properties: {'${K}': {enum: ['${V}', 1, '${N}'], default: null}}}}"
    schema = load_text(text, {"K": "no", "V": "v", "N": "3"}).io_schema.input
    assert schema == {"properties": {"${K}": {"enum": ["v", 1, "3"], "default": None}}}


def test_a_number_where_one_is_due(load_text: Load) -> None:
    text = (
        AGENT + 'expose: {port: "${PORT}", rest: "${REST}", host: "${HOST}", shutdown_grace: "${GRACE:-2.5}"}'
    )
    expose = load_text(text, {"PORT": "8081", "REST": "false", "HOST": "127"}).expose
    assert (expose.port, expose.rest, expose.host, expose.shutdown_grace) == (8081, False, "127", 2.5)


def test_a_value_from_the_environment_meets_the_same_rules(refused: Refused) -> None:
    text = "agent: {name: a, handler: '${H}'}\nexpose: {port: '${PORT}'}"
    assert str(refused(text, {"H": "os:system", "PORT": "70000"})).splitlines() == [
        "Dockfile.yaml:1: agent.handler: a module of Python's standard library cannot be an agent, "
        "got '${H}'; name a module of your own, for example app.service:handle; "
        "rename it if it has a standard name",
        "Dockfile.yaml:2: expose.port: expected a number of at most 65535, got '${PORT}'",
    ]


def test_the_process_environment_is_the_default(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    load_text(AGENT)
    monkeypatch.setenv("SOME_TEXT", "from outside")
    with open("Dockfile.yaml", "w") as file:
        file.write("agent: {name: a, handler: 'm:f', description: '${SOME_TEXT}'}")
    assert load_dockfile().agent.description == "from outside"
    monkeypatch.delenv("SOME_TEXT")
    with pytest.raises(DockfileError, match="SOME_TEXT is not set"):
        load_dockfile()


def test_bytes_that_are_no_text_are_refused(refused: Refused) -> None:
    env = {"A": os.fsdecode(b"\xff")}
    assert "io_schema.input.title: environment variable A is not UTF-8 text" in str(
        refused(AGENT + "io_schema: {input: {title: '${A}'}}", env)
    )


SECRETS = """\
secrets:
  required:
    - {name: REDIS_URL, description: Redis connection URL}
    - {name: OPENAI_KEY}
    - {name: THERE}
  optional:
    - {name: REGION, description: where, default: eu}
    - {name: ZONE}
"""


def test_missing_secrets_are_listed_all_at_once(refused: Refused) -> None:
    error = refused(AGENT + "auth: {mode: api_key}\n" + SECRETS, {"THERE": "x", "OPENAI_KEY": ""})
    assert str(error).splitlines() == [
        "Dockfile.yaml:2: auth.api_keys.env_var: environment variable DOCKRION_API_KEY is not set; "
        "it holds the API keys",
        "Dockfile.yaml:5: secrets.required[0]: environment variable REDIS_URL is not set "
        "(Redis connection URL); it is a required secret",
        "Dockfile.yaml:6: secrets.required[1]: environment variable OPENAI_KEY is not set; "
        "it is a required secret",
    ]


def test_secrets_that_are_there(load_text: Load) -> None:
    env = {"THERE": "x", "OPENAI_KEY": "y", "REDIS_URL": "z"}
    secrets = load_text(AGENT + SECRETS, env).secrets
    assert [secret.name for secret in secrets.required] == ["REDIS_URL", "OPENAI_KEY", "THERE"]
    assert secrets.optional[0].default == "eu"
    assert secrets.optional[1].default is None


@pytest.mark.parametrize(("env", "expected"), [({}, "eu"), ({"REGION": ""}, "eu"), ({"REGION": "us"}, "us")])
def test_the_default_of_an_optional_secret_is_substituted(
    load_text: Load, env: dict[str, str], expected: str
) -> None:
    text = "agent: {name: a, handler: 'm:f', description: '${REGION}'}\n"
    text += "secrets: {optional: [{name: REGION, default: eu}]}"
    assert load_text(text, env).agent.description == expected


def test_a_default_may_come_from_the_environment_but_not_from_another_default(refused: Refused) -> None:
    text = AGENT + "secrets: {optional: [{name: A, default: a}, {name: B, default: '${A}'}]}"
    assert "secrets.optional[1].default: environment variable A is not set" in str(refused(text))


@pytest.mark.parametrize("env", [{}, {"TEAM_KEYS": ""}])
def test_the_variable_of_the_api_keys_must_be_set(refused: Refused, env: dict[str, str]) -> None:
    text = AGENT + "auth:\n  mode: api_key\n  api_keys:\n    env_var: TEAM_KEYS\n"
    assert str(refused(text, env)) == (
        "Dockfile.yaml:5: auth.api_keys.env_var: environment variable TEAM_KEYS is not set; "
        "it holds the API keys"
    )


def test_a_variable_that_is_missed_twice_is_told_once(refused: Refused) -> None:
    text = AGENT + "auth: {mode: api_key}\nsecrets: {required: [{name: DOCKRION_API_KEY}]}"
    assert [problem.path for problem in refused(text).problems] == ["secrets.required[0]"]


def test_without_authentication_no_keys_are_needed(load_text: Load) -> None:
    assert load_text(AGENT + "auth: {mode: none, api_keys: {env_var: TEAM_KEYS}}").auth.mode == "none"


# One reference to the canary in each place where a value can stand, each wrong or not.
PLACES = [
    "version: '${C}'",
    "expose: {port: '${C}'}",
    "expose: {rest: '${C}'}",
    "expose: {host: '${C}', port: -1}",
    "expose: {streaming: '${C}'}",
    "expose: {streaming: [sse, '${C}']}",
    "expose: {cors: {origins: ['${C}'], methods: ['${C}']}}",
    "expose: {cors: '${C}'}",
    "expose: {shutdown_grace: '1${C}'}",
    "streaming: {events: {allowed: '${C}'}}",
    "streaming: {events: {allowed: [token, 'x${C}']}}",
    "streaming: {events: {allowed: ['custom:${C} x']}}",
    "streaming: {events: {allowed: [['${C}']]}}",
    "streaming: {events: {heartbeat_interval: '${C}'}}",
    "io_schema: {input: {type: '${C}'}}",
    "io_schema: {input: {properties: ['${C}']}}",
    "io_schema: {input: {required: '${C}'}}",
    "io_schema: {input: {pattern: '[${C}'}}",
    "io_schema: {output: {anyOf: [{minimum: {a: '${C}'}}]}}",
    "io_schema: '${C}'",
    "auth: {mode: '${C}'}",
    "auth: {mode: api_key, api_keys: {env_var: '${C}', header: '${C} x'}}",
    "auth: {mode: api_key, api_keys: {env_var: 'A_${D}'}}",
    "secrets: {required: [{name: 'A_${D}', description: 'for ${C}'}]}",
    "secrets: {required: [{name: MISSING, description: 'for ${C}'}]}",
    "secrets: {required: ['${C}'], optional: [{name: A, default: ['${C}']}]}",
    "secrets: {optional: [{name: A, default: '${C}', descriptoin: x}]}\nexpose: {port: '${A}'}",
    "secrets: {optional: [{name: A, default: c4n4ry-7f3a}]}\nexpose: {port: '${A}'}",
]


@pytest.mark.parametrize("text", PLACES)
def test_a_value_from_the_environment_is_never_in_an_error(refused: Refused, text: str) -> None:
    error = refused(AGENT + text, {"C": CANARY, "D": CANARY.replace("-", "_")})
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.problems)
    told += repr(error.__cause__) + repr(error.__context__)
    assert CANARY not in told
    assert CANARY.replace("-", "_") not in told
    assert str(error) in told


def test_values_from_the_environment_are_not_in_the_repr(load_text: Load) -> None:
    dockfile = load_text(
        """\
agent: {name: "n ${C}", handler: "m:f", description: "${C}"}
io_schema: {input: {title: "${C}"}, output: {description: "${C}"}}
expose: {host: "${C}", cors: {origins: ["https://${C}"]}}
streaming: {events: {allowed: ["custom:${D}"]}}
secrets:
  required: [{name: C, description: "${C}"}]
  optional: [{name: B, description: "${C}", default: "${C}"}, {name: E, default: c4n4ry-7f3a}]
""",
        {"C": CANARY, "D": CANARY},
    )
    assert dockfile.agent.description == CANARY
    assert dockfile.streaming.events.allowed == (f"custom:{CANARY}",)
    shown = repr(dockfile) + str(dockfile) + repr(dockfile.agent) + f"{dockfile.secrets.optional}"
    assert CANARY not in shown
    assert "name='n ${C}'" in shown
    assert CANARY not in repr(pickle.loads(pickle.dumps(dockfile)))
    assert CANARY not in repr(dockfile.model_copy())

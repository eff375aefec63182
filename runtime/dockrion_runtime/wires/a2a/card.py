"""The agent's card: what a Dockfile tells other agents."""

from __future__ import annotations

import re
from typing import Any, Final

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    APIKeySecurityScheme,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)

from dockrion_sdk import Dockfile

from .values import JSON_TYPE

_MODES: Final = ["text/plain", JSON_TYPE]
_VERSIONS: Final = ("1.0", "0.3")


def agent_card(
    dockfile: Dockfile, url: str, *, version: str, framework: str, payload: dict[str, Any] | None
) -> AgentCard:
    """Return the card of an agent that is spoken to at ``url``; ``version`` is the server's, ``payload`` the
    agent's input schema.
    """
    agent = dockfile.agent
    description = agent.description or f"The agent {agent.name}"
    card = AgentCard(
        name=agent.name,
        description=description,
        version=version,
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=spoken)
            for spoken in _VERSIONS
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=False, extended_agent_card=False),
        default_input_modes=_MODES,
        default_output_modes=_MODES,
        skills=[
            AgentSkill(
                id=re.sub(r"[^a-z0-9]+", "-", agent.name.lower()).strip("-") or "agent",
                name=agent.name,
                description=_skill(description, payload),
                tags=[framework],
            )
        ],
    )
    if dockfile.auth.mode == "api_key":
        _secure(card, dockfile)
    return card


def _skill(description: str, schema: dict[str, Any] | None) -> str:
    """Say in words which fields a data part has."""
    properties = (schema or {}).get("properties") or {}
    required = (schema or {}).get("required") or ()
    fields = [_field(name, field, name in required) for name, field in properties.items()]
    return f"{description}\n\nFields of a data part: {'; '.join(fields)}." if fields else description


def _field(name: str, field: Any, required: bool) -> str:
    field = field if isinstance(field, dict) else {}
    kind = field.get("type", "any")
    kind = kind if isinstance(kind, str) else " or ".join(map(str, kind))
    told = f"{name} ({kind}, required)" if required else f"{name} ({kind})"
    return f"{told}: {field['description']}" if field.get("description") else told


def _secure(card: AgentCard, dockfile: Dockfile) -> None:
    keys = dockfile.auth.api_keys
    schemes = {
        "apiKey": SecurityScheme(
            api_key_security_scheme=APIKeySecurityScheme(location="header", name=keys.header)
        )
    }
    if keys.allow_bearer:
        schemes["bearer"] = SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="Bearer"))
    for name, scheme in schemes.items():
        card.security_schemes[name].CopyFrom(scheme)
        card.security_requirements.append(SecurityRequirement(schemes={name: StringList()}))

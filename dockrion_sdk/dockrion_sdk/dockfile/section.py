"""What all sections of a Dockfile share: they are frozen, know their keys, and report every fault at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import InitErrorDetails, PydanticCustomError

from .errors import Loc
from .fields import FAULT, fault

Faults = Iterable[tuple[Loc, PydanticCustomError]]


class Section(BaseModel):
    """A mapping with fixed keys. An empty one (`expose:` and nothing after it) has all defaults.

    A subclass declares its keys as fields and, where keys depend on each other, overrides `check_keys`.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    _templates: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def check_keys(cls, given: Mapping[str, Any]) -> Faults:
        """Name what is wrong between keys, each with its location inside this section."""
        del given
        return ()

    def template(self, key: str) -> str | None:
        """How the file writes a value that came out of the environment; None for one that did not."""
        return self._templates.get(key)

    @model_validator(mode="wrap")
    @classmethod
    def _report_all(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(given, cls):
            return given
        given = {} if given is None else given
        faults = list(cls.check_keys(given)) if isinstance(given, Mapping) else []
        section: Self | None = None
        found: list[InitErrorDetails] = []
        try:
            section = validate(given)
        except ValidationError as error:
            found = list(cls._own(error))
        if section is None or faults:
            found += [InitErrorDetails(type=error, loc=loc, input=None) for loc, error in faults]
            raise ValidationError.from_exception_data(cls.__name__, found, hide_input=True)
        return section

    @classmethod
    def _own(cls, error: ValidationError) -> Iterator[InitErrorDetails]:
        """Repeat the errors of the fields; an unknown key learns which ones there are."""
        for item in error.errors(include_url=False):
            kind: str | PydanticCustomError = item["type"]
            context = item.get("ctx", {})
            if kind == "extra_forbidden" and len(item["loc"]) == 1:
                kind = fault("unknown key", valid=tuple(cls.model_fields), told=True)
            elif kind == FAULT:
                kind = PydanticCustomError(FAULT, "{message}", context)
            yield InitErrorDetails(type=kind, loc=item["loc"], input=item["input"], ctx=context)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Show what came out of the environment as it is written in the file."""
        for name, value in super().__repr_args__():
            yield name, self._templates.get(name, value) if name else value

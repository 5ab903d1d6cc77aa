"""Values from YAML bound to real signatures: every unknown key and wrong type is found at once, by pydantic."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import pydantic

from hf_datasel.errors import DataselError, close_to, shown


T = TypeVar("T")

# What names in annotations stand for. Those imported for type checkers only are of rows, which a recipe fills in itself; Union[X] is X,
# where Python 3.10 takes InitVar[X] for no type.
NAMES = {"Dataset": Any, "Sequence": list, "Mapping": dict, "InitVar": Union}


class Problems(list[str]):
    """Everything wrong with a recipe, one line each.

    `unread` names places of the recipe that are there and have faults of their own: what needs them says nothing more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unread: set[str] = set()


def bind(cls: type[T], values: Any, where: str, problems: Problems, **given: Any) -> T | None:
    """An instance of a dataclass from plain values, or `None` with the reasons added to `problems`.

    Args:
        cls: a dataclass; its fields and their annotations are the schema.
        values: a mapping from YAML.
        where: the place in the recipe, for messages.
        problems: gets one line per fault.
        given: fields filled in by the recipe, which YAML may not set.

    Example:
        >>> from hf_datasel.selectors import TopFraction
        >>> problems = Problems()
        >>> bind(TopFraction, {"colum": "ost_utility", "fraction": "many"}, "select", problems)
        >>> for problem in problems: print(problem)
        `select.column` is missing, expected a string.
        `select.fraction` is 'many', expected a valid number, unable to parse string as a number.
        `select.colum` is unknown. Did you mean `column`? Known: column, fraction, drop_nonpositive.
    """
    if not isinstance(values, Mapping):
        problems.append(f"`{where}` is {shown(values)}, expected a mapping of {cls.__name__}'s arguments.")
        return None
    try:
        parsed = _model(cls, frozenset(given)).model_validate(dict(values))
    except pydantic.ValidationError as error:
        problems.extend(_line(fault, where, cls) for fault in error.errors())
        return None
    try:
        return _build(cls, parsed, given)
    except (TypeError, ValueError, DataselError) as error:
        problems.extend(f"`{where}`: {line}" for line in str(error).splitlines())
        return None


def plain(value: Any) -> Any:
    """A dataclass as plain YAML values, defaults written out.

    Example:
        >>> from hf_datasel.rows import Labels
        >>> plain(Labels(max_length=64))["max_length"]
        64
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _model(cls: type, given: frozenset[str] = frozenset()) -> type[pydantic.BaseModel]:
    """The pydantic model of a dataclass' signature; a nested dataclass becomes a nested model."""
    hints = get_type_hints(cls, localns=NAMES)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if name in given:
            continue
        # What is not given stays the dataclass' own default: only fields that were set are passed on.
        required = parameter.default is inspect.Parameter.empty
        fields[name] = (_nested(hints[name]), ... if required else None)
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return pydantic.create_model(cls.__name__, __config__=config, **fields)


def _nested(hint: Any) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _model(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(_nested(part) for part in get_args(hint))]  # noqa: UP007 (built at run time)
    return hint


def _build(cls: type[T], parsed: pydantic.BaseModel, given: Mapping[str, Any]) -> T:
    hints = get_type_hints(cls, localns=NAMES)
    arguments = dict(given)
    for name in parsed.model_fields_set:
        value = getattr(parsed, name)
        if isinstance(value, pydantic.BaseModel):
            hint: Any = hints[name]
            options: tuple[Any, ...] = get_args(hint) or (hint,)
            nested: Any = next(option for option in options if getattr(option, "__name__", "") == type(value).__name__)
            value = _build(nested, value, {})
        arguments[name] = value
    return cls(**arguments)


def _line(fault: Any, where: str, cls: type) -> str:
    path = ".".join([where, *(str(part) for part in fault["loc"] if not str(part)[:1].isupper())])
    if fault["type"] == "missing":
        return f"`{path}` is missing, expected {_wanted(cls, fault['loc'])}."
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of ours, of a dataclass in a list
        owner = _owner(cls, fault["loc"][:-1])
        known = list(inspect.signature(owner).parameters)
        return f"`{path}` is unknown.{close_to(str(fault['loc'][-1]), known)} Known: {', '.join(known)}."
    reason = fault["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"`{path}` is {shown(fault['input'])}, expected {reason}."


def _owner(cls: type, loc: tuple[Any, ...]) -> type:
    """The dataclass at a place of the schema."""
    for part in loc:
        hints = get_type_hints(cls, localns=NAMES)
        hint = hints.get(str(part))
        for option in get_args(hint) or (hint,):
            if isinstance(option, type) and dataclasses.is_dataclass(option):
                cls = option
    return cls


def _wanted(cls: type, loc: tuple[Any, ...]) -> str:
    hints = get_type_hints(_owner(cls, loc[:-1]), localns=NAMES)
    names = {str: "a string", int: "a whole number", float: "a number", dict: "a mapping", list: "a list"}
    hint = hints.get(str(loc[-1]))
    return names.get(get_origin(hint) or hint, "a value")  # type: ignore[arg-type]

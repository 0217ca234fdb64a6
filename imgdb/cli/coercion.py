"""Plain values of options without pydantic, which typer loads for them: a third of a command."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin

_NUMBER = re.compile(r"-?[0-9]{1,18}")
_UNSURE = object()


class PlainValues:
    """Stands for what typer makes for a parameter, and asks that about all that is not plain."""

    def __init__(self, param: Any) -> None:
        self._typers: Callable[[], Any] = param.get_runtime_param

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value that the command takes; what is wrong with another one typer says."""
        found = _plain(value, param)
        return self._typers().coerce(value, param=param, ctx=ctx) if found is _UNSURE else found


def read_plainly(params: Sequence[Any]) -> list[Any]:
    """Have these parameters of a command read plain values on their own, and return them."""
    for param in params:
        # On the object itself it stands for the method of the class.
        if hasattr(param, "get_runtime_param") and "get_runtime_param" not in vars(param):
            values = PlainValues(param)
            param.get_runtime_param = lambda values=values: values
    return [*params]


def _plain(value: Any, param: Any) -> Any:
    several = param.multiple or param.nargs == -1
    if value is None:
        return () if several else None
    descriptor = param.type_descriptor
    if getattr(descriptor.parameter_info, "parser", None) is not None:
        return _UNSURE
    kind = descriptor.annotation
    if several:
        texts = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        return list(value) if get_args(kind) == (str,) and texts else _UNSURE
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else _UNSURE
    if not isinstance(kind, type):
        return _UNSURE
    if issubclass(kind, StrEnum):
        return kind(value) if value in [*kind] else _UNSURE
    if kind is int:
        return _number(value, descriptor.parameter_info)
    return value if kind in (str, bool) and type(value) is kind else _UNSURE


def _number(value: Any, info: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if type(value) is not int or info.clamp:
        return _UNSURE
    least, most = info.min, info.max
    fits = (least is None or value >= least) and (most is None or value <= most)
    return value if fits else _UNSURE

"""Makes a method that returns its own kind of coroutine a coroutine function to ``inspect``."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from types import MethodType
from typing import Any, TypeVar, cast

__all__ = ["coroutine_function"]

F = TypeVar("F", bound=Callable[..., object])


class _CoroutineFunction:
    """A method that returns its own kind of coroutine and is a coroutine function to ``inspect``.

    :func:`inspect.iscoroutinefunction` accepts any callable that has the attributes of a function,
    and so does what uses it (autospecs of mocks, decorators that retry). Python 3.12 has
    ``inspect.markcoroutinefunction`` for this; 3.11 has no other way.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        async def plain(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        self._function = function
        unbound: Any = plain
        update_wrapper(unbound, function)
        of_function = signature(function)
        # The autospec of a class removes `self` from plain functions only, and the attribute of
        # the class is not one.
        unbound.__signature__ = of_function.replace(
            parameters=list(of_function.parameters.values())[1:]
        )
        self._unbound = unbound
        self.__name__ = function.__name__
        update_wrapper(self, function)
        self.__code__ = plain.__code__
        self.__defaults__ = function.__defaults__
        self.__kwdefaults__ = function.__kwdefaults__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._unbound if instance is None else MethodType(self, instance)


def coroutine_function(function: F) -> F:
    """Make a method that returns a coroutine object look like one made with ``async def``."""
    return cast("F", _CoroutineFunction(function))

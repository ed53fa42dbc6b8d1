"""Lists of handlers, named on a command line as `module:ATTRIBUTE`."""

import importlib
from collections.abc import Iterable

from snsqs._binding import Binding, bindings
from snsqs._errors import ListenerMisconfigured


def bindings_of(names: Iterable[str], *, prefix: str = "") -> list[Binding]:
    """Return the bindings of all lists, with a prefix of their names. Raises ListenerMisconfigured where a
    name is wrong."""
    found: dict[str, tuple[str, Binding]] = {}
    for name in dict.fromkeys(names):
        for binding in _bindings(name):
            other, _ = found.setdefault(binding.queue, (name, binding))
            if other != name:
                raise ListenerMisconfigured(
                    f"{other} and {name} both consume {binding.queue}; a queue has one consumer"
                )
    bound = [binding for _, binding in found.values()]
    return [each.renamed(lambda name: prefix + name) for each in bound] if prefix else bound


def _bindings(name: str) -> list[Binding]:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ListenerMisconfigured(f"{name!r} is not module:ATTRIBUTE, such as billing.main:HANDLERS")
    try:
        functions = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # an import runs the module, which may raise anything
        raise ListenerMisconfigured(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    listed = list(functions) if isinstance(functions, Iterable) else []
    if not listed or not all(isinstance(each, Binding) or callable(each) for each in listed):
        raise ListenerMisconfigured(f"{name} is not a list of functions marked @sqs_listener")
    return bindings(listed)

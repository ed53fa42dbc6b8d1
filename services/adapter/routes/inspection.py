"""Inspection: what an expression reads and makes, as far as it can be said before an event is there."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from services.adapter.routes.expression import FUNCTIONS, Expression, Node
from services.adapter.routes.finding import Fault, did_you_mean
from services.adapter.routes.published import Kind, ListOf, Published, Shape


@dataclass(frozen=True)
class _Part:
    """A part of the event: what it looks like, and the way to it from the event; none for what is made."""

    shape: Shape
    path: str = ""

    @property
    def items(self) -> "_Part":
        item = self.shape.item if isinstance(self.shape, ListOf) else Kind.ANY
        return _Part(item, f"{self.path}[]" if self.path else "")


_ANY = _Part(Kind.ANY)


def faults_of_condition(when: Expression) -> list[Fault]:
    """A condition may read all of the aggregate, of which the adapter knows no more than its name."""
    walk = _Walk()
    walk.made(when.tree, _event(Kind.ANY))
    return walk.faults


def faults_of_projection(project: Expression, published: Published, event_type: str) -> list[Fault]:
    """Where a projection reads or makes what is not published, or makes no aggregate."""
    walk = _Walk(published, event_type)
    made = walk.made(project.tree, _event(published.shape)).shape
    faults = [
        *walk.faults,
        *walk.faults_of_reading(),
        *walk.faults_of_making(made, published.shape, "source"),
    ]
    match made:
        case dict() if "id" not in made:
            faults.append(Fault("project makes no id, which is the aggregate's"))
        case Kind.PLAIN | ListOf():
            faults.append(Fault("project makes no object", "write source.{id: id, …}"))
    return list(dict.fromkeys(faults))


def fields_read(project: Expression) -> list[str]:
    """The fields of the aggregate that a projection reads, as a published schema lists them."""
    walk = _Walk()
    walk.made(project.tree, _event(Kind.ANY))
    return [path.removeprefix("source.") for path in walk.ends if path.startswith("source.")]


def _event(aggregate: Shape) -> _Part:
    return _Part({"source": aggregate, "occurenceOn": Kind.PLAIN})


def _is_below(path: str, above: str) -> bool:
    return path.startswith((f"{above}.", f"{above}[]"))


@dataclass
class _Walk:
    """One way through a syntax tree (https://jmespath.org/specification.html), with shapes for values."""

    published: Published | None = None
    event_type: str = ""
    faults: list[Fault] = field(default_factory=list)
    read: dict[str, None] = field(default_factory=dict)
    """The paths that were read, in their order."""
    outside: dict[str, str | None] = field(default_factory=dict)
    """Where reading left the published schema, and what may have been meant."""

    @property
    def ends(self) -> list[str]:
        """The paths that were read, without those on the way to others."""
        return [path for path in self.read if not any(_is_below(other, path) for other in self.read)]

    def faults_of_reading(self) -> Iterator[Fault]:
        for path, hint in self.outside.items():
            for end in self.ends:
                if end == path or _is_below(end, path):
                    yield self._not_published(end, hint)

    def made(self, node: Node, at: _Part) -> _Part:
        """What the node makes of a part of the event."""
        children = node["children"]
        match node["type"]:
            case "field":
                return self._field(node["value"], at)
            case "subexpression" | "index_expression" | "pipe":
                for child in children:
                    at = self.made(child, at)
                return at
            case "identity" | "current" | "slice":
                return at
            case "index":
                return at.items
            case "flatten":
                return self._flat(self.made(children[0], at))
            case "projection" | "value_projection" | "filter_projection":
                return self._projected(node, at)
            case "multi_select_dict":
                return _Part({pair["value"]: self.made(pair["children"][0], at).shape for pair in children})
            case "literal":
                return _Part(Kind.ANY if isinstance(node["value"], dict | list) else Kind.PLAIN)
            case "function_expression":
                self._function(node)
            case "expref":
                at = _ANY
        return self._together(node, [self.made(child, at) for child in children])

    def faults_of_making(self, made: Shape, schema: Shape, path: str) -> Iterator[Fault]:
        """Where the made shape has what the schema does not have."""
        match made, schema:
            case (dict(), dict()):
                for name, shape in made.items():
                    if name in schema:
                        yield from self.faults_of_making(shape, schema[name], f"{path}.{name}")
                    else:
                        yield self._not_published(f"{path}.{name}", did_you_mean(name, schema))
            case (ListOf(item), ListOf(published)):
                yield from self.faults_of_making(item, published, f"{path}[]")
            case (Kind.ANY, _) | (Kind.PLAIN, Kind.PLAIN):
                return
            case _ if path != "source":
                yield Fault(f"what project makes as {path} is not what the published schema has there")

    def _field(self, name: str, at: _Part) -> _Part:
        path = f"{at.path}.{name}" if at.path else name
        match at.shape:
            case dict() as fields if name in fields:
                self.read[path] = None
                return _Part(fields[name], path)
            case dict() as fields if at.path:
                self.read[path] = None
                self.outside[path] = did_you_mean(name, fields)
                return _Part(Kind.ANY, path)
            case dict() as fields:
                hint = did_you_mean(name, fields) or f"it has {' and '.join(fields)}"
                self.faults.append(Fault(f"the event has no {name}", hint))
            case ListOf():
                self.faults.append(Fault(f"{at.path} is a list", f"write {at.path}[].{name}"))
            case Kind.PLAIN:
                self.faults.append(Fault(f"{at.path} is a plain value and has no {name}"))
            case Kind.ANY if at.path:
                self.read[path] = None
                return _Part(Kind.ANY, path)
        return _ANY

    def _not_published(self, path: str, hint: str | None) -> Fault:
        field = path.removeprefix("source.")
        add = f'to let it leave, add "{field}" to the published fields of {self.event_type}'
        return Fault(f"{path} is not in the published schema of {self.event_type}", hint or add)

    def _projected(self, node: Node, at: _Part) -> _Part:
        base, inner, *condition = node["children"]
        whole = self.made(base, at)
        each = _ANY if node["type"] == "value_projection" else whole.items
        for filtering in condition:
            self.made(filtering, each)
        return _Part(ListOf(self.made(inner, each).shape), "")

    def _flat(self, whole: _Part) -> _Part:
        nested = isinstance(whole.shape, ListOf) and isinstance(whole.shape.item, ListOf)
        return whole.items if nested else whole

    def _function(self, node: Node) -> None:
        name, given = node["value"], len(node["children"])
        if name not in FUNCTIONS:
            self.faults.append(Fault(f"JMESPath has no function {name}()", did_you_mean(name, FUNCTIONS)))
        elif given not in FUNCTIONS[name]:
            self.faults.append(Fault(f"{name}() cannot take {given} arguments"))

    def _together(self, node: Node, parts: list[_Part]) -> _Part:
        """What comes of parts that are weighed against each other, listed, or given to a function."""
        one_shape = (
            parts[0].shape if parts and all(part.shape == parts[0].shape for part in parts) else Kind.ANY
        )
        match node["type"]:
            case "comparator" | "not_expression":
                return _Part(Kind.PLAIN)
            case "or_expression" | "and_expression":
                return _Part(one_shape)
            case "multi_select_list":
                return _Part(ListOf(one_shape))
            case _:
                return _ANY

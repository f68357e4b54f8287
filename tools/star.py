"""What a package's source does with other packages of this repository, read from the source.

The star: every package depends on core alone, and on its public part; only the facade sees them all. Python lets
anybody reach for an underscore, set an attribute of somebody else's object, or use what a base class keeps to itself.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module

__all__ = ["CORE", "FACADE", "Sources"]

CORE = "hubbub"
FACADE = "hubbub_gevent"
PASSED_ON = frozenset({"hubbub.lowlevel.native_local"})
"""The standard library's, which core hands on as it was before patching."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def is_private(name: str) -> bool:
    """Whether a name is private by its underscore; dunder names are the language's."""
    return name.startswith("_") and not name.endswith("__")


def top(name: str) -> str:
    """The package of a dotted name."""
    return name.partition(".")[0]


@dataclass
class Class:
    """A class statement: what it derives from, and which private names it has."""

    name: str
    node: ast.ClassDef
    bases: list[str]
    privates: set[str] = field(default_factory=set)


@dataclass
class Module:
    """One source file."""

    name: str
    tree: ast.Module
    bound: dict[str, str] = field(default_factory=dict)
    """By name in the module, the dotted name of what was imported or defined."""
    classes: list[Class] = field(default_factory=list)

    def dotted(self, expression: ast.expr) -> str | None:
        """The dotted name that an expression made of names has, as far as imports and definitions tell."""
        match expression:
            case ast.Name(id=name):
                return self.bound.get(name)
            case ast.Attribute(value=value, attr=attr):
                base = self.dotted(value)
                return None if base is None else f"{base}.{attr}"
            case ast.Subscript(value=value):
                return self.dotted(value)
        return None


def _bindings(module: str, tree: ast.Module) -> dict[str, str]:
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[alias.asname or top(alias.name)] = alias.name if alias.asname else top(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, *_FUNCTIONS)):
            bound[node.name] = f"{module}.{node.name}"
    return bound


def _methods(node: ast.ClassDef) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Functions of a class, with the name of their first parameter."""
    for member in node.body:
        if isinstance(member, _FUNCTIONS):
            first = [*member.args.posonlyargs, *member.args.args][:1]
            static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in member.decorator_list)
            if first and not static:
                yield member, first[0].arg


def _defined(node: ast.ClassDef) -> Iterator[str]:
    """Names that the body of a class defines."""
    for member in node.body:
        match member:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def _used(node: ast.ClassDef) -> Iterator[tuple[str, bool]]:
    """Private attributes of the instance, or the class, that methods use; with whether they are set."""
    for method, first in _methods(node):
        for each in ast.walk(method):
            if isinstance(each, ast.Attribute) and is_private(each.attr):
                value = each.value
                is_super = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "super"
                if is_super or (isinstance(value, ast.Name) and value.id == first):
                    yield each.attr, not isinstance(each.ctx, ast.Load)


class Sources:
    """The sources of all packages."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """:param sources: by dotted name of the module."""
        self.modules = {name: self._parsed(name, source) for name, source in sources.items()}
        self.packages = {top(name) for name in sources}
        self.classes = {each.name: each for module in self.modules.values() for each in module.classes}

    @staticmethod
    def _parsed(name: str, source: str) -> Module:
        tree = ast.parse(source)
        module = Module(name, tree, _bindings(name, tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = [base for each in node.bases if (base := module.dotted(each))]
                found = Class(f"{name}.{node.name}", node, bases)
                found.privates = {each for each in _defined(node) if is_private(each)}
                found.privates |= {attr for attr, is_set in _used(node) if is_set}
                module.classes.append(found)
        return module

    def violations(self, module: str) -> list[str]:
        """What a module does against the star."""
        own = self.modules[module]
        return [*self._imports(own), *self._privates(own), *self._inherited(own), *self._assignments(own)]

    # Imports and what is reached through them ---------------------------------------------------------------------

    def _others(self, module: Module) -> set[str]:
        return self.packages - {top(module.name)}

    def _imports(self, module: Module) -> Iterator[str]:
        """Imports of another package than core, and of private modules and names."""
        others = self._others(module)
        for name in _imported(module.tree):
            if top(name) in others and top(name) != CORE and top(module.name) != FACADE:
                yield f"imports {name}"
            if top(name) in others and any(map(is_private, name.split("."))):
                yield f"imports private {name}"

    def _privates(self, module: Module) -> Iterator[str]:
        """Private attributes that are reached from an imported name."""
        others = self._others(module)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                root = _root(node)
                if root is not None and top(module.bound.get(root, "")) in others:
                    yield f"uses private {module.bound[root]}: {ast.unparse(node)}"

    # Bases --------------------------------------------------------------------------------------------------------

    def _resolve(self, name: str) -> Class | None:
        """The class of a dotted name, by way of the modules that import it from one another."""
        for _ in range(10):
            if name in self.classes:
                return self.classes[name]
            module, _, last = name.rpartition(".")
            if module not in self.modules or last not in self.modules[module].bound:
                return None
            name = self.modules[module].bound[last]
        return None

    def _ancestors(self, start: Class) -> Iterator[Class]:
        for base in start.bases:
            found = self._resolve(base)
            if found is not None and found is not start:
                yield found
                yield from self._ancestors(found)

    def _inherited(self, module: Module) -> Iterator[str]:
        """Private names of a base class in another package that a class uses, or has again."""
        for each in module.classes:
            foreign = {
                name: base.name
                for base in self._ancestors(each)
                if top(base.name) != top(module.name)
                for name in base.privates - _standard(base)
            }
            used = {name for name, _ in _used(each.node)} | {name for name in _defined(each.node) if is_private(name)}
            for name in sorted(used & set(foreign)):
                yield f"{each.node.name} uses {name} of its base {foreign[name]}"

    # Assignments --------------------------------------------------------------------------------------------------

    def _assignments(self, module: Module) -> Iterator[str]:
        """Attributes that are set on what comes from another package."""
        yield from _Assignments(module, self._others(module)).found


def _imported(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that the source imports, names taken from modules included."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.Call(
                func=ast.Name("__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(str(module)), *_],
            ):
                yield module


def _standard(base: Class) -> set[str]:
    """Names that a class has from its bases in the standard library, which made them everybody's."""
    names: set[str] = set()
    for base_name in base.bases:
        module, _, name = base_name.rpartition(".")
        if top(module) in sys.stdlib_module_names:
            names |= set(dir(getattr(import_module(module), name, None)))
    return names


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


class _Assignments(ast.NodeVisitor):
    """Follows values from another package through a module: its classes, their objects, and what those return.

    What an object of another package has and returns counts as that package's, unless an annotation says otherwise.
    """

    def __init__(self, module: Module, others: set[str]) -> None:
        self._module = module
        self._others = others
        self._scopes: list[dict[str, bool]] = [{}]
        self._instance: tuple[str, dict[str, bool]] | None = None
        self.found: list[str] = []
        self.visit(module.tree)

    def _is_foreign(self, node: ast.expr | None) -> bool:
        match node:
            case ast.Name(id=name):
                for scope in reversed(self._scopes):
                    if name in scope:
                        return scope[name]
                origin = self._module.bound.get(name, "")
                return origin not in PASSED_ON and top(origin) in self._others
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if self._instance and name == self._instance[0]:
                return self._instance[1].get(attr, False)
            case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
                return self._is_foreign(value)
            case ast.Call(func=func):
                return self._is_foreign(func)
            case ast.BoolOp(values=values):
                return any(map(self._is_foreign, values))
            case ast.IfExp(body=body, orelse=orelse):
                return self._is_foreign(body) or self._is_foreign(orelse)
            case ast.NamedExpr(value=value) | ast.Await(value=value):
                return self._is_foreign(value)
        return False

    def _names_foreign(self, annotation: ast.expr | None) -> bool:
        """Whether an annotation is of another package's class, or of several of them."""
        match annotation:
            case ast.Constant(str(text)):
                return self._names_foreign(ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, right=right):
                return self._names_foreign(left) or self._names_foreign(right)
            case ast.Subscript(value=ast.Name("list" | "dict" | "set" | "deque" | "Sequence" | "Mapping"), slice=of):
                return any(map(self._names_foreign, of.elts if isinstance(of, ast.Tuple) else [of]))
            case ast.Name() | ast.Attribute() | ast.Subscript():
                name = self._module.dotted(annotation)
                return name is not None and top(name) in self._others
        return False

    def _bind(self, target: ast.expr, foreign: bool) -> None:
        match target:
            case ast.Name(id=name):
                self._scopes[-1][name] = foreign
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._bind(element, foreign)
            case ast.Starred(value=value):
                self._bind(value, foreign)
            case ast.Attribute(value=value):
                is_own = self._instance and isinstance(value, ast.Name) and value.id == self._instance[0]
                if not is_own and self._is_foreign(value):
                    self.found.append(f"sets {ast.unparse(target)}")

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for each, value in zip(target.elts, node.value.elts, strict=False):
                    self._bind(each, self._is_foreign(value))
            else:
                self._bind(target, self._is_foreign(node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self._bind(node.target, self._names_foreign(node.annotation))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Attribute):
            self._bind(node.target, False)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                self._bind(target, False)

    def visit_For(self, node: ast.For) -> None:
        self._bind(node.target, self._is_foreign(node.iter))
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        self.generic_visit(node)
        if node.optional_vars is not None:
            self._bind(node.optional_vars, self._is_foreign(node.context_expr))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._bind(node.target, self._is_foreign(node.value))

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name("setattr" | "delattr"), args=[value, *_]) if self._is_foreign(value):
                self.found.append(ast.unparse(node))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, attributes = self._instance, self._attributes(node)
        self._scopes.append({})
        methods = dict(_methods(node))
        for member in node.body:
            self._instance = (methods[member], attributes) if member in methods else outer
            self.visit(member)
        self._scopes.pop()
        self._instance = outer

    def _attributes(self, node: ast.ClassDef) -> dict[str, bool]:
        """What is known of the attributes of a class's objects."""
        known: dict[str, bool] = {}
        for member in node.body:
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                known[member.target.id] = self._names_foreign(member.annotation)
        for method, first in _methods(node):
            self._scopes.append(self._parameters(method))
            for each in ast.walk(method):
                match each:
                    case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id=name), attr=attr)) if name == first:
                        known[attr] = self._names_foreign(each.annotation)
                    case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=name), attr=attr)]) if name == first:
                        known[attr] = known.get(attr, False) or self._is_foreign(each.value)
            self._scopes.pop()
        return known

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, bool]:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each]
        return {each.arg: self._names_foreign(each.annotation) for each in every}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._scopes.append(self._parameters(node))
        self.generic_visit(node)
        self._scopes.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._scopes.append(self._parameters(node))
        self.generic_visit(node)
        self._scopes.pop()

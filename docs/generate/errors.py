"""The texts of the errors that a user can do something about, as the code has them, for docs/troubleshooting.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "icontact_assets"
ROOTS = {"UserError", "InvalidSetting"}
GAP = "…"
SECTIONS = {
    "Settings": ("settings/", "credentials.py"),
    "Asking iContact": ("icontact/",),
    "Reading": ("ingest/", "assets/raw.py", "retries.py"),
    "The database": ("warehouse/", "catalog.py", "resources.py", "frames.py"),
    "Mapped tables and audiences": ("mapping/build.py", "mapping/people.py", "audiences/", "assets/"),
    "Exports": ("exports/",),
    "Demo": ("demo.py",),
    "Commands": ("",),
}
"""What is on the page, by where it is raised. Each text is in the first section that fits."""
NOT_SHOWN = ("mapping/expressions.py", "ingest/rows.py")
"""Errors of whoever changes the field tables, and reasons in the table `quarantine`."""


@dataclass(eq=False)
class Module:
    """What a text may be made of in one module."""

    path: str
    tree: ast.Module
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    """Where names come from: the path of another module."""

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            match node:
                case ast.FunctionDef():
                    self.functions[node.name] = node
                case ast.ImportFrom(str(module), names):
                    path = module.removeprefix("icontact_assets.").replace(".", "/") + ".py"
                    self.imported |= {one.asname or one.name: path for one in names}
        for node in self.tree.body:
            match node:
                case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, ast.expr() as value):
                    self.constants[name] = value

    def place(self, name: str) -> Module:
        """The module that a name of this one comes from."""
        return modules().get(self.imported.get(name, ""), self)


@dataclass(frozen=True)
class Said:
    """An error that is made in the code, and the texts that it may have. Placeholders are `*name*`."""

    path: str
    line: int
    texts: tuple[str, ...]


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by its path, but those of the sandbox, which is no part of an import."""
    paths = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: Module(name, ast.parse(path.read_text())) for name, path in paths.items() if "sandbox" not in name}


def error_classes() -> set[str]:
    """The names of all classes below the roots."""
    bases = [
        (node.name, {ast.unparse(base).rpartition(".")[2] for base in node.bases})
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    classes = set(ROOTS)
    while new := {name for name, above in bases if classes & above} - classes:
        classes |= new
    return classes


@cache
def said() -> tuple[Said, ...]:
    """Every error that is made, in the order of the code."""
    return tuple(_said())


def _said() -> Iterator[Said]:
    classes = error_classes()
    for module in modules().values():
        for function, call in _calls(module.tree, None):
            if _made(call.func, classes, function):
                yield Said(module.path, call.lineno, tuple(dict.fromkeys(_error(call, module, function))))


def _calls(node: ast.AST, function: ast.FunctionDef | None) -> Iterator[tuple[ast.FunctionDef, ast.Call]]:
    """Every call with the innermost function around it."""
    for below in ast.iter_child_nodes(node):
        if isinstance(below, ast.Call) and function is not None:
            yield function, below
        yield from _calls(below, below if isinstance(below, ast.FunctionDef) else function)


def _made(called: ast.expr, classes: set[str], function: ast.FunctionDef) -> bool:
    """Whether this makes an error: one of the classes, or a variable that is one of them."""
    if isinstance(called, ast.Attribute):
        return called.attr in classes
    if not isinstance(called, ast.Name):
        return False
    chosen = [value.body for value in _assigned(function).get(called.id, ()) if isinstance(value, ast.IfExp)]
    return called.id in classes or any(isinstance(one, ast.Name) and one.id in classes for one in chosen)


def _error(call: ast.Call, module: Module, function: ast.FunctionDef) -> Iterator[str]:
    """The texts of an error: what was found, and the remedy."""
    problem = [word.value for word in call.keywords if word.arg == "problem"]
    parts = [texts for value in [*problem, *call.args] if (texts := list(_texts(value, module, function)))]
    for chosen in product(*parts):
        ended = [text if text.endswith((".", ":", GAP)) else f"{text}." for text in chosen[:-1]]
        yield " ".join([*ended, *chosen[-1:]])


def _texts(node: ast.expr, module: Module, function: ast.FunctionDef) -> Iterator[str]:
    """The texts that an expression may be. Nothing if it is no text, or not known."""
    match node:
        case ast.Constant(str(text)):
            yield text
        case ast.JoinedStr(values):
            for parts in product(*(list(_part(value, module, function)) for value in values)):
                yield "".join(parts)
        case ast.BinOp(left, ast.Add(), right):
            for one, other in product(_texts(left, module, function), list(_texts(right, module, function)) or [GAP]):
                yield one + other
        case ast.IfExp(_, one, other):
            yield from _texts(one, module, function)
            yield from _texts(other, module, function)
        case ast.Name(name) if name in _assigned(function):
            for value in _assigned(function)[name]:
                yield from _texts(value, module, function)
        case ast.Name(name) if isinstance(module.place(name).constants.get(name), ast.Constant | ast.JoinedStr):
            yield from _texts(module.place(name).constants[name], module, function)
        case ast.Subscript(ast.Name(name)) if isinstance(module.constants.get(name), ast.Dict):
            for value in module.constants[name].values:
                yield from _texts(value, module, function)
        case ast.Call(ast.Attribute(ast.Constant(" "), "join"), [ast.List(elements)]):
            yield " ".join(next(_texts(element, module, function), GAP) for element in elements)
        case ast.Call(ast.Attribute(ast.Constant(" "), "join"), [ast.Name(name)]):
            for value in _assigned(function).get(name, ()):
                yield from _texts(value, module, function)
        case ast.List(elements):
            for element in elements:
                yield from _texts(element, module, function)
        case ast.Call(ast.Name(name) | ast.Attribute(ast.Name("self"), name)) if name in module.place(name).functions:
            called = module.place(name).functions[name]
            for inner in ast.walk(called):
                if isinstance(inner, ast.Return) and inner.value is not None and called is not function:
                    yield from _texts(inner.value, module.place(name), called)


@cache
def _assigned(function: ast.FunctionDef) -> dict[str, list[ast.expr]]:
    """What the variables of a function are given, or, if it is a list, what is put into it."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        match node:
            case (
                ast.Assign([ast.Name(target)], value)
                | ast.AugAssign(ast.Name(target), _, value)
                | ast.Call(ast.Attribute(ast.Name(target), "append"), [value])
            ):
                found.setdefault(target, []).append(value)
    return found


def _part(node: ast.expr, module: Module, function: ast.FunctionDef) -> Iterator[str]:
    """The texts that a part of an f-string may be."""
    if not isinstance(node, ast.FormattedValue):
        yield from _texts(node, module, function)
        return
    match node.value:
        case ast.IfExp(_, ast.Constant(str(one)), ast.Constant(str(other))):
            yield one
            yield other
        case ast.Name(name) if isinstance(module.place(name).constants.get(name), ast.Constant):
            yield str(ast.literal_eval(module.place(name).constants[name]))
        case ast.Subscript() | ast.Call(ast.Name("remedy")) | ast.Name("remedy"):
            yield from list(_texts(node.value, module, function)) or [GAP]
        case ast.Name(name):
            yield f"*{name.strip('_')}*"
        case ast.Attribute(ast.Name(owner), "name"):
            yield f"*{owner.strip('_')}*"
        case ast.Attribute(_, name):
            yield f"*{name.strip('_')}*"
        case _:
            yield GAP


def _markdown(text: str) -> str:
    """A text as it is shown: placeholders in italics, and in capital letters within code."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    parts[1::2] = [re.sub(r"\*(\w+)\*", lambda name: name[1].upper(), part) for part in parts[1::2]]
    return "`".join(parts)


def _says_something(text: str) -> bool:
    """Whether a text is more than what others say."""
    return len(re.findall(r"\w+", re.sub(r"\*\w+\*", "", text))) > 3


def errors() -> list[str]:
    """The sections of the page with all texts."""
    shown: dict[str, dict[str, None]] = {title: {} for title in SECTIONS}
    for error in said():
        if not error.path.startswith(NOT_SHOWN):
            section = next(title for title, places in SECTIONS.items() if error.path.startswith(places))
            shown[section].update(dict.fromkeys(map(_markdown, filter(_says_something, error.texts))))
    lines = []
    for title, texts in shown.items():
        lines += ["", f"### {title}", "", *(f"- {text}" for text in texts)]
    return lines[1:]


def unknown() -> list[str]:
    """Errors whose text cannot be found in the code."""
    return [f"{error.path}:{error.line}" for error in said() if not error.texts]

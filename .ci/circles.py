#!/usr/bin/env python3
"""Fails when more than four source files of a crate stand in a circle: none of them can be read without all the others.

A file has an arrow to another of its crate when it names an item that is defined there, in a `use` or in a path. Re-exports
are followed to the file of the item itself. A `mod x;` or a `pub use` is a sign that shows the way and no arrow, unless the
file makes use of the name too; neither is the call of a method one. What stands under `#[cfg(test)]` is not looked at, nor
are comments and strings.

The circles that were there before this check stand in KNOWN with their size. They may only shrink: one that grows fails, and
one that has shrunk is told, so that the table is cut.

    circles.py                   the check
    circles.py --list            every circle of two files and more, with its arrows
    circles.py --graph CRATE     every arrow of one crate
"""

import pathlib
import re
import sys

LARGEST = 4
# Read as: crate, files in its circle, and the names that hold it together.
KNOWN = [
]

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    | (?P<comment>/\*)
    | (?P<text>b?c?r(?P<hashes>\#*)"(?s:.*?)"(?P=hashes) | [bc]?"(?:\\(?s:.)|[^"\\])*"
        | b?'(?:\\u\{[^}]*\}|\\x..|\\.|[^\\'\n])' | \d\w*(?:\.\d\w*)?)
    | (?P<lifetime>'\w+)
    | (?P<token>(?:r\#)?[A-Za-z_]\w*|::|=>|->|(?s:.))""",
    re.VERBOSE,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")
NAME = re.compile(r"[A-Za-z_]\w*\Z")
# What a path leads to that ends in another crate.
ELSEWHERE = object()
CLOSING = {"(": ")", "[": "]", "{": "}"}
ITEMS = {"struct", "enum", "union", "trait", "type", "fn", "const", "static", "mod"}
# An item that begins with one of these ends with a semicolon, all else with its closing brace or, inside of a list, a comma.
ENDS_WITH_SEMICOLON = {"use", "const", "static", "type", "let", "extern"}
BEFORE_ITEMS = {"pub", "async", "unsafe", "default", "extern"}
TEST = ["#", "[", "cfg", "(", "test", ")", "]"]


def tokens(text):
    """The tokens of a source file, each with its line, without comments. A text, a number and a lifetime are empty tokens."""
    found, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        end = match.end()
        if match["comment"]:
            depth = 1
            while depth and (edge := COMMENT_EDGE.search(text, end)):
                depth, end = depth + (1 if edge[0] == "/*" else -1), edge.end()
            end = end if not depth else len(text)
        elif not match["space"]:
            found.append(((match["token"] or "").removeprefix("r#"), line))
        line += text.count("\n", at, end)
        at = end
    return found


class Module:
    """What one module defines, declares and brings into scope."""

    def __init__(self, file, parent):
        self.file, self.parent = file, parent
        self.items, self.modules, self.imports, self.globs, self.macros = set(), {}, {}, [], set()
        # The names that it only passes on, as far as its `use` says.
        self.shown = set()
        # What is named in it, to be looked up when all modules are read: (segments, line, is it the name of a macro).
        self.named = []


class Crate:
    """The modules of a crate, read from its root down, and what the paths in them lead to."""

    def __init__(self, source):
        self.source, self.files, self.exported = source, [], {}
        roots = [source / "lib.rs", source / "main.rs", *sorted(source.glob("bin/*.rs"))]
        self.modules = []
        for root in roots:
            if root.exists():
                self.read(root, None, root.parent)

    def read(self, path, parent, folder):
        """Reads a file as a module, whose children lie in `folder`, and then those that it declares."""
        module = Module(path.relative_to(self.source).as_posix(), parent)
        self.modules.append(module)
        self.files.append(module.file)
        Reader(self, tokens(path.read_text())).block(0, module, folder)
        return module

    def arrows(self):
        """{file: {other file: {name: line where it first stands}}}"""
        found = {file: {} for file in self.files}
        for module in self.modules:
            for segments, line, macro in module.named:
                target = self.macro(module, segments[0]) if macro else self.resolve(module, segments)
                if isinstance(target, tuple) and target[0] != module.file:
                    file, name = target
                    found[module.file].setdefault(file, {}).setdefault(name, line)
        return found

    def macro(self, module, name):
        """A macro that is used without a path: it is in scope from where it stands down to all modules below."""
        while module and name not in module.macros:
            module = module.parent
        return module and (module.file, name)

    def resolve(self, module, segments, seen=()):
        """What a path in `module` leads to: (file, item), a Module, or None or ELSEWHERE for no item of this crate."""
        here, first, rest = module, segments[0], segments[1:]
        if first in ("crate", "self", "super"):
            while first == "crate" and here.parent:
                here = here.parent
            here = here.parent if first == "super" else here
            while rest and here and rest[0] in ("super", "self"):
                here = here.parent if rest[0] == "super" else here
                rest = rest[1:]
        else:
            here = self.look_up(module, first, bool(rest), seen)
        for number, name in enumerate(rest):
            if not isinstance(here, Module):
                break
            # What no text defines, a macro has made: it is counted as an item of the module that it is named in.
            here = self.look_up(here, name, number + 1 < len(rest), seen) or (here.file, name)
        return here

    def look_up(self, module, name, inner, seen):
        """What `name` means in `module`. Before `::` a module wins, at the end of a path an item."""
        if (module, name) in seen:
            return None
        seen = (*seen, (module, name))
        if name in module.modules and (inner or name not in module.items | module.imports.keys()):
            return module.modules[name]
        if name in module.items:
            return module.file, name
        if name in module.imports:
            return self.resolve(module, module.imports[name], seen) or module.modules.get(name) or ELSEWHERE
        if not module.parent and name in self.exported:
            return self.exported[name]
        for path in module.globs:
            target = self.resolve(module, path, seen)
            if isinstance(target, Module) and (found := self.look_up(target, name, inner, seen)):
                return found
        return None


class Reader:
    """Goes once through the tokens of a file and tells its modules what they define, bring into scope and name."""

    def __init__(self, crate, found):
        self.crate, self.lines = crate, [line for _, line in found]
        self.words = [word for word, _ in found] + [""] * len(TEST)

    def block(self, at, module, folder, inner=0):
        """Reads from `at` to the end of the file or of the block that is open, and returns where that is.

        `inner` says how many braces below its module the block is: only what stands in none is an item of the module.
        """
        words = self.words
        while at < len(self.lines):
            word = words[at]
            if word == "#" and words[at : at + len(TEST)] == TEST:
                at = self.after_item(at + len(TEST))
            elif word == "use" and words[at + 1] != "<":
                public = words[at - 1 : at] == ["pub"] or words[at - 1 : at] == [")"]
                at = self.use_tree(at + 1, module, [], inner, public)
            elif word == "mod" and NAME.match(words[at + 1]) and words[at + 2] in (";", "{"):
                at = self.child(at, module, folder)
            elif word == "macro_rules" and words[at + 1] == "!":
                module.macros.add(words[at + 2])
                module.items.add(words[at + 2])
                if "macro_export" in words[max(at - 4, 0) : at]:
                    self.crate.exported[words[at + 2]] = module.file, words[at + 2]
                at += 3
            elif word in CLOSING:
                at = self.block(at + 1, module, folder, inner + 1)
            elif word in (")", "]", "}"):
                return at + 1
            elif word in ITEMS and not inner and NAME.match(words[at + 1]) and words[at + 1] not in ITEMS | BEFORE_ITEMS:
                module.items.add(words[at + 1])
                at += 2
            elif NAME.match(word):
                at = self.path(at, module)
            else:
                at += 1
        return at

    def child(self, at, module, folder):
        """Reads a module that is declared here, from its own file or from the block that follows."""
        name, opening = self.words[at + 1 : at + 3]
        below = folder / name
        if opening == "{":
            child = module.modules[name] = Module(module.file, module)
            self.crate.modules.append(child)
            return self.block(at + 3, child, below)
        for path in (below.with_suffix(".rs"), below / "mod.rs"):
            if path.exists():
                module.modules[name] = self.crate.read(path, module, below)
        return at + 3

    def use_tree(self, at, module, before, inner, public):
        """Reads one branch of a `use` and returns where it ends."""
        words, path = self.words, list(before)
        while words[at] in ("::", "$") or NAME.match(words[at]) and words[at] != "as":
            if NAME.match(words[at]):
                path.append(words[at])
            at += 1
        line = self.lines[at - 1]
        if words[at] == "{":
            at += 1
            while words[at] not in ("}", ""):
                at = at + 1 if words[at] == "," else max(at + 1, self.use_tree(at, module, path, inner, public))
            return at + 1
        if not path:
            return at
        if words[at] == "*":
            module.globs.append(path)
            if not public:
                module.named.append((path, line, False))
            return at + 1
        if path[-1] == "self" and len(path) > 1:
            path.pop()
        name = path[-1]
        if words[at] == "as":
            name, at = words[at + 1], at + 2
        # One inside of a function is known to the function only, and rarely means another thing than one outside.
        if not inner or name not in module.imports:
            module.imports[name] = path
        if public:
            module.shown.add(name)
        else:
            module.named.append((path, line, False))
        return at

    def path(self, at, module):
        """Reads a name, or a path of several, and returns where it ends."""
        words, first = self.words, at
        segments = [words[at]]
        while words[at + 1] == "::" and NAME.match(words[at + 2]):
            segments.append(words[at + 2])
            at += 2
        before = words[first - 1] if first else ""
        # A name that a `use` brings in is counted there.
        if before not in (".", "::", "fn") and (len(segments) > 1 or segments[0] not in module.imports.keys() - module.shown):
            macro = len(segments) == 1 and words[at + 1] == "!" and segments[0] not in module.imports
            module.named.append((segments, self.lines[at], macro))
        return at + 1

    def after_item(self, at):
        """The end of the item, field, arm or statement that begins here, with further attributes before it."""
        words = self.words
        while words[at] == "#":
            at = self.after_bracket(at + 1)
        while words[at] in BEFORE_ITEMS:
            at = self.after_bracket(at + 1) if words[at + 1] == "(" else at + 1
        item = words[at] in ITEMS | ENDS_WITH_SEMICOLON | {"impl", "macro_rules"}
        to_semicolon = words[at] in ENDS_WITH_SEMICOLON and words[at + 1] not in ("fn", "unsafe", "async")
        while at < len(self.lines) and words[at] not in (")", "]", "}"):
            if words[at] == ";" or words[at] == "," and not item:
                return at + 1
            braces = words[at] == "{"
            at = self.after_bracket(at) if words[at] in CLOSING else at + 1
            if braces and not to_semicolon:
                return at
        return at

    def after_bracket(self, at):
        """The end of what is opened here, by whichever bracket."""
        depth = 0
        while at < len(self.lines):
            depth += (self.words[at] in CLOSING) - (self.words[at] in CLOSING.values())
            at += 1
            if not depth:
                break
        return at


def circles(arrows):
    """The sets of files that all reach each other, of two and more, the largest first (Tarjan)."""
    order, low, stack, found = {}, {}, [], []

    def visit(file):
        order[file] = low[file] = len(order)
        stack.append(file)
        for target in arrows[file]:
            if target not in order:
                visit(target)
                low[file] = min(low[file], low[target])
            elif target in stack:
                low[file] = min(low[file], order[target])
        if low[file] == order[file]:
            first = stack.index(file)
            circle = stack[first:]
            del stack[first:]
            if len(circle) > 1:
                found.append(sorted(circle))

    for file in arrows:
        if file not in order:
            visit(file)
    return sorted(found, key=lambda circle: (-len(circle), circle))


def arrow_lines(arrows, files):
    """One line of text per arrow between `files`, with the names that make it and where they first stand."""
    for file in files:
        for target in sorted(arrows[file].keys() & set(files)):
            names = ", ".join(f"{line}: {name}" for name, line in arrows[file][target].items())
            yield f"  {file} -> {target}  ({names})"


def judge(graphs, known):
    """Returns lines of text: what is wrong, and what of the table is to be cut.

    A circle that is known may have fallen into several: together they have the room that it had.
    """
    wrong, to_cut = [], []
    for crate, arrows in graphs.items():
        sizes = [size for name, size, _ in known if name == crate]
        room = list(sizes)
        for circle in circles(arrows):
            if len(circle) <= LARGEST:
                continue
            fitting = [index for index, left in enumerate(room) if left >= len(circle)]
            if fitting:
                room[min(fitting, key=room.__getitem__)] -= len(circle)
                continue
            wrong.append(f"{crate}: {len(circle)} files in a circle that is new or has grown; open it, {LARGEST} is the most")
            wrong.extend(arrow_lines(arrows, circle))
        for size, left in zip(sizes, room):
            if left:
                now = f"has shrunk to {size - left}" if left < size else "is gone"
                to_cut.append(f"{crate}: the circle of {size} files {now}; cut the table in .ci/circles.py")
    gone = {name for name, _, _ in known} - graphs.keys()
    return wrong, to_cut + [f"{name}: there is no such crate; cut the table in .ci/circles.py" for name in sorted(gone)]


def main(arguments):
    crates = pathlib.Path(__file__).resolve().parent.parent / "crates"
    sources = sorted(crates.glob("*/src"))
    if arguments[:1] == ["--graph"]:
        sources = [crates / name / "src" for name in arguments[1:]]
    graphs = {source.parent.name: Crate(source).arrows() for source in sources}
    if arguments:
        for name, arrows in graphs.items():
            for files in circles(arrows) if arguments == ["--list"] else [sorted(arrows)]:
                print(f"{name}: {len(files)} files", *arrow_lines(arrows, files), sep="\n")
        return 0
    wrong, to_cut = judge(graphs, KNOWN)
    for line in wrong + to_cut:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Fails when circles.py does not see what it is there for, each time in a small crate that is made up for it."""

import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

from circles import Crate, circles, judge  # noqa: E402


def arrows(files):
    """The arrows of a crate that has these files, as a set of "from -> to: names"."""
    return {
        f"{file} -> {target}: {', '.join(sorted(names))}"
        for file, targets in graph(files).items()
        for target, names in targets.items()
    }


def graph(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Crate(pathlib.Path(folder)).arrows()


def ring(size):
    """The arrows of a crate whose files stand in one circle."""
    names = [f"{number}.rs" for number in range(size)]
    return {name: {names[number - 1]: {"Item": 1}} for number, name in enumerate(names)}


class Arrows(unittest.TestCase):
    TWO = "mod a; mod b;"

    def test_modules_that_are_only_declared_make_none(self):
        self.assertEqual(arrows({"lib.rs": "mod a; pub mod b;", "a.rs": "struct A;", "b.rs": "struct B;"}), set())

    def test_a_circle_by_use(self):
        files = {
            "lib.rs": self.TWO,
            "a.rs": "use crate::b::B;\nstruct A;",
            "b.rs": "\nuse crate::a::{self, A as Other};\nstruct B;",
        }
        self.assertEqual(circles(graph(files)), [["a.rs", "b.rs"]])
        self.assertEqual(graph(files)["b.rs"], {"a.rs": {"A": 2}})

    def test_a_circle_by_path(self):
        files = {
            "lib.rs": self.TWO,
            "a.rs": "pub fn go() { crate::b::go::<u8>() }",
            "b.rs": "use crate::a; pub fn go() { a::go() }",
        }
        self.assertEqual(circles(graph(files)), [["a.rs", "b.rs"]])

    def test_a_circle_by_super(self):
        files = {
            "lib.rs": "mod m;",
            "m/mod.rs": "mod a; struct Own(a::A);",
            "m/a.rs": "mod b; struct A;",
            "m/a/b.rs": "struct B(super::super::Own);",
        }
        self.assertEqual(arrows(files), {"m/mod.rs -> m/a.rs: A", "m/a/b.rs -> m/mod.rs: Own"})
        files["m/a.rs"] += "fn all(b: self::b::B) {}"
        self.assertEqual(circles(graph(files)), [["m/a.rs", "m/a/b.rs", "m/mod.rs"]])

    def test_a_circle_by_what_a_module_passes_on(self):
        files = {
            "lib.rs": "mod m; mod b; pub use m::{A, deep::*};",
            "m/mod.rs": "mod a; pub(crate) mod deep; pub use a::A;",
            "m/a.rs": "use crate::b::B; pub struct A;",
            "m/deep.rs": "pub struct Deep;",
            "b.rs": "use crate::{A, Deep}; pub struct B;",
        }
        self.assertEqual(arrows(files), {"m/a.rs -> b.rs: B", "b.rs -> m/a.rs: A", "b.rs -> m/deep.rs: Deep"})

    def test_what_a_module_passes_on_and_uses_is_an_arrow(self):
        files = {
            "lib.rs": "mod a; pub use a::{A, Other};\nfn new() -> A {}",
            "a.rs": "pub struct A; pub struct Other;",
        }
        self.assertEqual(arrows(files), {"lib.rs -> a.rs: A"})

    def test_a_circle_by_an_impl_in_another_file(self):
        files = {
            "lib.rs": self.TWO,
            "a.rs": "pub struct A(crate::b::B);",
            "b.rs": "pub struct B; impl crate::a::A { fn more(&self) {} }",
        }
        self.assertEqual(circles(graph(files)), [["a.rs", "b.rs"]])

    def test_a_method_is_no_arrow(self):
        files = {"lib.rs": self.TWO, "a.rs": "pub fn go(it: It) { it.b().b::<u8>() }", "b.rs": "pub fn b() {}"}
        self.assertEqual(arrows(files), set())

    def test_what_a_glob_brings_in(self):
        files = {
            "lib.rs": self.TWO,
            "a.rs": "use super::b::*; fn go() -> B {}",
            "b.rs": "pub struct B; pub struct Other;",
        }
        self.assertEqual(arrows(files), {"a.rs -> b.rs: B"})

    def test_other_crates_are_no_file(self):
        files = {
            "lib.rs": "mod a; mod b;",
            "a.rs": "pub use other::Thing;",
            "b.rs": "use crate::a::Thing; use std::fmt;",
        }
        self.assertEqual(arrows(files), set())

    def test_macros(self):
        files = {
            "lib.rs": "mod words; macro_rules! make { () => { $crate::b::B } } mod a; mod b;",
            "words.rs": "macro_rules! word { ($n:ident) => { struct $n; } } pub(crate) use word;",
            "a.rs": "crate::words::word!(Made); make!();",
            "b.rs": "use crate::a::Made; pub struct B;",
        }
        expected = {"lib.rs -> b.rs: B", "a.rs -> words.rs: word", "a.rs -> lib.rs: make", "b.rs -> a.rs: Made"}
        self.assertEqual(arrows(files), expected)

    def test_tests_comments_and_strings_are_not_looked_at(self):
        text = """
            pub struct A<'a>(&'a u8); // crate::b::B
            /* crate::b::B /* nested */ crate::b::B */
            const TEXT: &[&str] = &["crate::b::B \\" crate::b::B", r#"" crate::b::B"#];
            const SIGN: [char; 3] = ['"', '\\'', '\\u{22}'];
            #[cfg(test)]
            pub(crate) fn helper<T, U>() -> crate::b::B {}
            struct Fields { #[cfg(test)] of_tests: crate::b::B, of_all: crate::b::Other }
            #[cfg(test)]
            #[allow(unused)]
            mod tests { use crate::b::B; }
        """
        files = {
            "lib.rs": self.TWO + "#[cfg(test)] mod checks;",
            "a.rs": text,
            "b.rs": "pub struct B; pub struct Other;",
        }
        files["checks.rs"] = "use crate::b::B;"
        self.assertEqual(arrows(files), {"a.rs -> b.rs: Other"})


class Judgement(unittest.TestCase):
    def test_four_files_are_allowed_and_five_are_not(self):
        self.assertEqual(judge({"new": ring(4)}, []), ([], []))
        wrong, _ = judge({"new": ring(5)}, [])
        self.assertIn("5 files", wrong[0])
        self.assertEqual(len(wrong), 6)

    def test_what_is_known_may_not_grow(self):
        known = [("old", 5, "why")]
        self.assertEqual(judge({"old": ring(5)}, known), ([], []))
        self.assertTrue(judge({"old": ring(6)}, known)[0])

    def test_what_has_shrunk_or_gone_is_told(self):
        known = [("old", 9, "why"), ("gone", 9, "why")]
        wrong, to_cut = judge({"old": ring(6)}, known)
        self.assertEqual(wrong, [])
        self.assertEqual(len(to_cut), 2)
        self.assertIn("has shrunk to 6", to_cut[0])
        self.assertIn("is gone", judge({"old": ring(4), "gone": {}}, known)[1][0])


if __name__ == "__main__":
    unittest.main()

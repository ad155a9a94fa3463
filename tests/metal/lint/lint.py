"""Sources of the Metal Shading Language, checked by clang as C++ for OpenCL, whose address spaces are as strict.

    MLX_METAL_SIMULATOR=1 MLX_METAL_KEEP_SOURCES=folder python …
    python tests/metal/lint/lint.py folder/*.metal

`translate` rewrites what the two languages write in different ways; metal_stdlib.h declares the library. What OpenCL
allows and Metal forbids is found in the syntax tree: pointers and references without an address space, recursion,
lambdas, goto, new and delete.

Stricter than Metal: a structure in constant memory cannot be copied as a whole (take a reference to it).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
LANGUAGE = ["-target", "spir64", "-x", "cl", "-cl-std=clc++2021", "-cl-no-stdinc"]
REFUSED = [
    "-Xclang",
    "-cl-ext=-cl_khr_fp64,-__opencl_c_fp64,-__opencl_c_program_scope_global_variables,-__opencl_c_device_enqueue",
]
QUIET = ["-Wno-everything", "-ferror-limit=0", "-fno-caret-diagnostics", "-fno-color-diagnostics"]


@cache
def compiler() -> list[str] | None:
    """A clang that knows C++ for OpenCL 2021, or None."""
    names = ["clang", *(f"clang-{n}" for n in range(30, 13, -1))]
    candidates = [[path] for path in map(shutil.which, names) if path]
    if importlib.util.find_spec("ziglang"):
        candidates.append([sys.executable, "-m", "ziglang", "clang"])
    with tempfile.NamedTemporaryFile(suffix=".cl", mode="w") as probe:
        probe.write("template <class T> __global T* f(__global T* x) { return x; }\n")
        probe.flush()
        for command in candidates:
            if subprocess.run([*command, *LANGUAGE, "-fsyntax-only", probe.name], capture_output=True).returncode == 0:
                return command
    return None


# ---- translation -------------------------------------------------------------------------------

BEGIN = "lint_source"  # where the library ends, in the syntax tree
SCALAR = r"(?:float|half|bfloat|u?char|u?short|u?int|u?long)"
VECTOR = rf"(?:(?:metal::)?vec<[^<>;(){{}}]*>|{SCALAR}[234])"
NAME = r"[\w:]+(?:<[^;=(){}]*?>)?"
DIMENSIONS = r"(?:\s*\[[^\];]*\])*"
ATTRIBUTE = re.compile(r"\[\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\]\]")
FUNCTION_CONSTANT = re.compile(r"\bconstant\s+([\w:]+)\s+(\w+)\s*\[\[\s*function_constant\([^\]]*\]\]\s*;")
# One that is made of others has no value either before there is a pipeline.
DERIVED_CONSTANT = re.compile(r"^constant\s+(?!constexpr\b)([\w:]+)\s+(\w+)\s*=\s*([^;{}]+);", re.MULTILINE)
THREADGROUP = re.compile(
    rf"(?<=[;{{}}\n])(\s*)threadgroup\s+({NAME})\s+(\w+{DIMENSIONS}(?:\s*,\s*\w+{DIMENSIONS})*)\s*;"
)
STRUCTURE = re.compile(r"\b(?:struct|class)\s+\w+(?:\s*<[^;{}()]*>)?(?:\s*:[^;{}()]*)?\s*\{")
METHOD = re.compile(r"\)\s*(?:const\s*)?$")


def blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def threadgroup_variables(match: re.Match[str]) -> str:
    """OpenCL has such variables in kernels alone, and its kernels are no templates: references to memory instead."""
    out = []
    for name, dims in re.findall(rf"(\w+)({DIMENSIONS})\s*(?:,|$)", match[3]):
        to = f"(&{name}){dims}" if dims else f"&{name}"
        cast = f"(*){dims}" if dims else "*"
        out.append(f"threadgroup {match[2]} {to} = *(threadgroup {match[2]} {cast})lint_memory();")
    return match[1] + " ".join(out)


def thread_methods(text: str) -> str:
    """Methods that do not say otherwise are those of objects in thread memory."""
    out, at = [], 0
    while found := STRUCTURE.search(text, at):
        out.append(text[at : found.end()])
        at = begin = found.end()
        depth = 1
        while depth > 0:
            if depth == 1 and text[at] in ";{":
                member = text[begin:at]
                plain = METHOD.search(member) and not re.search(r"\b(?:static|friend)\b", member)
                out.append(f"{member.rstrip()} __private {text[at]}" if plain else member + text[at])
                begin = at + 1
            elif depth == 2 and text[at] == "}":
                out.append(text[begin : at + 1])
                begin = at + 1
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        out.append(text[begin:at])
    return "".join([*out, text[at:]])


def translate(source: str) -> str:
    """The same lines as C++ for OpenCL."""
    text = re.sub(r"//[^\n]*", "", source)
    text = re.sub(r"/\*.*?\*/", blank, text, flags=re.DOTALL)
    text = re.sub(r"^[ \t]*#\s*include\s*<metal_\w+>", "", text, flags=re.MULTILINE)
    text = FUNCTION_CONSTANT.sub(r"extern constant \1 \2;", text)
    text = DERIVED_CONSTANT.sub(r"inline \1 lint_value_of_\2() { return \3; } extern constant \1 \2;", text)
    text = ATTRIBUTE.sub(blank, text)
    text = re.sub(r"\bkernel\s+void\b", "void", text)
    # Names here, keywords there.
    text = re.sub(r"\b(global|local|generic|pipe)\b", r"\1_", text)
    text = re.sub(rf"\bstatic_cast<(\s*{VECTOR}\s*)>\(", r"lint_convert<\1>(", text)
    text = re.sub(rf"(?<![\w<])({VECTOR})\s*(?=\()", r"lint_make<\1>", text)
    text = THREADGROUP.sub(threadgroup_variables, text)
    return f"struct {BEGIN};\n#line 1\n{thread_methods(text)}"


# ---- the syntax tree ---------------------------------------------------------------------------

NODE = re.compile(r"^([ |`-]*)(\w+) (0x[0-9a-f]+)(.*)$")
PLACE = re.compile(r"(?:(line|col)|([^\s<>,:]+)):(\d+)(?::(\d+))?")
QUOTED = re.compile(r"'((?:[^'])*)'")
REFERENCE = re.compile(
    r"(?:Function|CXXMethod|CXXConversion) (0x[0-9a-f]+) '([^']*)'"
    r"|<bound member function type>' (?:->|\.)(\S+) (0x[0-9a-f]+)"
)
SPACE = re.compile(r"__(?:global|local|constant|private)\b")
FORBIDDEN = {
    "LambdaExpr": "a lambda expression",
    "GotoStmt": "goto",
    "CXXNewExpr": "new",
    "CXXDeleteExpr": "delete",
    "CXXTypeidExpr": "typeid",
    "CXXDynamicCastExpr": "dynamic_cast",
}
FUNCTIONS = ("FunctionDecl", "CXXMethodDecl", "CXXConversionDecl", "CXXConstructorDecl")
VARIABLES = ("VarDecl", "ParmVarDecl", "FieldDecl")
CASTS = ("CXXReinterpretCastExpr", "CXXStaticCastExpr", "CStyleCastExpr", "CXXFunctionalCastExpr")


@dataclass
class Tree:
    """What a dump of the syntax tree says: faults, and which function uses which."""

    faults: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    uses: dict[str, set[str]] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)  # another declaration of a function
    calls: set[str] = field(default_factory=set)  # names of functions of the library that are used
    file: str = ""
    line: str = ""

    def read(self, dump: str) -> Tree:
        inside: list[tuple[int, str]] = []  # functions around the node
        made_by_compiler = 1 << 30  # depth of a member that nobody wrote
        used: dict[str, str] = {}
        begin = dump.rfind("\n", 0, max(dump.find(f" {BEGIN}\n"), 0)) + 1
        for text in dump[begin:].splitlines():
            if not (match := NODE.match(text)):
                continue
            depth, kind, address, rest = len(match[1]), match[2], match[3], match[4]
            while inside and inside[-1][0] >= depth:
                inside.pop()
            self.move(rest)
            if depth <= made_by_compiler:
                made_by_compiler = depth if " implicit " in rest and kind in FUNCTIONS else 1 << 30
            if kind in FUNCTIONS:
                if previous := re.search(r"prev (0x[0-9a-f]+)", rest):
                    self.same[address] = previous[1]
                inside.append((depth, address))
                self.names[address] = self.name_of(rest)
            elif inside:
                for a, function, method, b in REFERENCE.findall(rest):
                    self.uses.setdefault(inside[-1][1], set()).add(a or b)
                    used[a or b] = function or method
            if depth < made_by_compiler:
                self.look(kind, rest)
        self.find_recursion()
        self.calls = {name for address, name in used.items() if address not in self.names}
        return self

    def move(self, rest: str) -> None:
        for word, file, a, _ in PLACE.findall(rest.split("'", 1)[0]):
            if word == "col":
                continue
            if file and not file.startswith("<"):
                self.file = file
            self.line = a

    @staticmethod
    def name_of(rest: str) -> str:
        words = [w for w in re.sub(r"<[^>]*>", "", rest.split("'", 1)[0]).split() if not PLACE.match(w)]
        marks = ("used", "referenced", "invalid", "constexpr")
        return next((word for word in reversed(words) if word not in marks), "a parameter")

    def look(self, kind: str, rest: str) -> None:
        where = f"{self.file}:{self.line}"
        if kind in FORBIDDEN:
            self.faults.append(f"{where}: error: {FORBIDDEN[kind]}, which Metal does not have")
        if kind not in (*VARIABLES, *CASTS, "FunctionDecl", "CXXMethodDecl"):
            return
        types = QUOTED.findall(rest)
        text = types[0] if types else ""
        if kind in ("FunctionDecl", "CXXMethodDecl"):
            text = text.split("(", 1)[0]
        # The pointer's own space follows the star: "__global float *__private".
        pointees = re.split(r"[*&]+", re.sub(r"\[[^\]]*\]", "", text))[:-1]
        if any("__generic" in pointee or not SPACE.search(pointee) for pointee in pointees):
            what = self.name_of(rest) if kind in VARIABLES else "a cast" if kind in CASTS else "a result"
            self.faults.append(f"{where}: error: {what} is a pointer or reference without an address space: {text}")

    def find_recursion(self) -> None:
        def first(address: str) -> str:
            while address in self.same:
                address = self.same[address]
            return address

        graph: dict[str, set[str]] = {}
        for user, used in self.uses.items():
            graph.setdefault(first(user), set()).update(map(first, used))
        done: set[str] = set()
        for start in graph:
            path: list[str] = []

            def visit(node: str, path: list[str] = path) -> None:
                if node in path:
                    names = " -> ".join(self.names.get(n, "?") for n in [*path[path.index(node) :], node])
                    self.faults.append(f"error: recursion: {names}")
                elif node in graph and node not in done:
                    path.append(node)
                    for other in graph[node]:
                        visit(other)
                    path.pop()
                    done.add(node)

            visit(start)


def examine(source: str) -> tuple[list[str], set[str]]:
    """What is wrong with a source, messages with file and line as its #line directives say; and the functions of the
    library that it calls.
    """
    with tempfile.NamedTemporaryFile(suffix=".cl", mode="w") as file:
        file.write(translate(source) + "\n")
        file.flush()
        command = [*(compiler() or []), *LANGUAGE, *REFUSED, *QUIET, "-include", str(HERE / "metal_stdlib.h")]
        command += ["-fsyntax-only", "-Xclang", "-ast-dump", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if " error: " in line]
    if done.returncode != 0 and not errors:
        errors = [done.stderr]
    tree = Tree().read(done.stdout)
    own = ("lint_", "operator", "__builtin_")
    return errors + sorted(set(tree.faults)), {name for name in tree.calls if not name.startswith(own)}


def faults(source: str) -> list[str]:
    return examine(source)[0]


def main() -> int:
    if compiler() is None:
        print("lint: no clang that knows C++ for OpenCL (clang 14 or later, or the package ziglang)", file=sys.stderr)
        return 2
    failed = 0
    for name in sys.argv[1:]:
        found = faults(Path(name).read_text())
        failed += bool(found)
        for fault in found:
            print(f"{name}: {fault}")
    print(f"{len(sys.argv) - 1} sources, {failed} with faults")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

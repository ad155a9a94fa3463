"""Every source that the backend hands to a device, as real address-space code (tests/metal/lint), and that the lint
finds what it is there for.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lint import features
from lint.lint import compiler, examine, faults

pytestmark = pytest.mark.skipif(
    compiler() is None, reason="no clang that knows C++ for OpenCL: apt-get install clang, or pip install ziglang"
)
ROOT = Path(__file__).parents[2]
DOCUMENTATION = ROOT / "docs/metal.md"
INTERFACE = ROOT.parent / "shared/api"
# Functions that are computed by the CPU alone, and one that is made of two others.
WITHOUT_SOURCE = {"lgamma", "digamma", "polygamma", "clip"}

KERNEL = """
#include <metal_stdlib>
using namespace metal;
constant bool flag [[function_constant(0)]];
constant bool other = !flag;
struct Pair {
  float a, b;
  float sum() const { return a + b; }
};
struct Sizes {
  uint n;
};
{outside}
kernel void f(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
              constant Sizes& p [[buffer(2)]], device Pair* pairs [[buffer(3), function_constant(other)]],
              device atomic_uint* counts [[buffer(4)]], uint i [[thread_position_in_grid]],
              ushort lane [[thread_index_in_simdgroup]]) {
  threadgroup float tile[32], more[2][8];
  threadgroup float one;
  Pair own = pairs[i];
  float held[4] = {};
  tile[lane] = in[i];
  {inside}
  out[i] = tile[lane] + own.sum() + held[0];
}
"""

# What stands outside and inside of the kernel, and words of the fault.
FAULTS = {
    "a pointer of the wrong space": ("", "device float* q = tile; q[0] = 1;", "__local"),
    "device memory as threadgroup memory": ("", "threadgroup const float* q = in + 1; held[0] = *q;", "__global"),
    "a cast to another space": (
        "",
        "device float* q = reinterpret_cast<device float*>(&tile[0]); *q = 1;",
        "reinterpret_cast",
    ),
    "an argument of the wrong space": ("void g(device float* x) { *x = 1; }", "g(tile);", "no matching function"),
    "thread memory as device memory": ("", "device float* q = held; *q = 1;", "__private"),
    "a store to constant memory": ("", "p.n = 1;", "not assignable|const-qualified|constant"),
    "a pointer without a space": ("", "float* q = held; *q = 1;", "q is a pointer or reference without"),
    "a parameter without a space": (
        "float g(const float* x) { return *x; }",
        "held[0] = g(held);",
        "x is a pointer or reference",
    ),
    "a reference without a space": ("", "float& r = held[0]; r = 1;", "r is a pointer or reference without"),
    "a member without a space": (
        "struct S { float* x; };",
        "S s = {held}; *s.x = 1;",
        "x is a pointer or reference without",
    ),
    "a result without a space": (
        "float* g(thread float* x) { return x; }",
        "*g(held) = 1;",
        "without an address space",
    ),
    "in a template that is used": (
        "template <class T> T g(T* x) { return *x; }",
        "held[0] = g(held);",
        "without an address space",
    ),
    "a method of a device object": ("", "held[0] = pairs[i].sum();", "object parameter"),
    "a double": ("", "double d = 1; held[0] = d;", "double"),
    "a double in a cast": ("", "held[0] = static_cast<double>(held[1]);", "double"),
    "recursion": ("uint g(uint n) { return n < 2 ? n : g(n - 1) + g(n - 2); }", "held[0] = g(i);", "recursion: g -> g"),
    "recursion of two": (
        "uint h(uint n); uint g(uint n) { return n < 2 ? n : h(n - 1); } uint h(uint n) { return g(n); }",
        "held[0] = g(i);",
        "recursion: ",
    ),
    "recursion of a method": (
        "struct R { uint at(uint n) const { return n ? at(n - 1) : 0; } };",
        "R r; held[0] = r.at(i);",
        "recursion: at",
    ),
    "a function pointer": (
        "float g(float x) { return x; }",
        "float (*q)(float) = g; held[0] = q(1.0f);",
        "pointers to functions",
    ),
    "a lambda": ("", "auto g = [&](uint k) { return k + i; }; held[0] = g(1);", "lambda"),
    "goto": ("", "again: if (held[0]++ < 2) goto again;", "goto"),
    "new": ("", "thread int* x = new int; *x = 1;", "new"),
    "an exception": ("", "if (i > 5) throw 1;", "exception"),
    "a virtual method": ("struct V { virtual float x() const { return 1; } };", "V v; held[0] = v.x();", "virtual"),
    "a variable of the program": ("float total = 0;", "total += 1;", "address space|constant|program scope"),
    "a static variable": ("", "static float total = 0; total += 1;", "address space|static"),
    "minimum of int and uint": ("", "held[0] = min(static_cast<int>(i), p.n);", "ambiguous"),
    "bits of another size": ("", "held[0] = as_type<float>(ulong(i));", "different sizes"),
    "a shuffle of 64 bits": ("", "ulong x = simd_shuffle(ulong(i), 3); held[0] = x;", "no matching function"),
    "an atomic function of a plain number": (
        "",
        "atomic_fetch_add_explicit(out, 1.0f, memory_order_relaxed);",
        "no matching function",
    ),
    "a matrix in constant memory": (
        "",
        "simdgroup_matrix<float, 8, 8> m; simdgroup_load(m, reinterpret_cast<constant float*>(&p));",
        "no matching function",
    ),
    "matrices of another size": ("", "simdgroup_matrix<float, 4, 4> m; (void)m;", "8 by 8"),
    "no such function": ("", "held[0] = metal::tgamma(held[1]);", "tgamma"),
}

FINE = """
  device float* a = out;
  threadgroup float* b = tile + 3;
  thread float* c = held;
  constant Sizes& d = p;
  a[i] = b[0] + c[1] + d.n + more[1][2];
  one = 1;
  const float2 pair = float2(1, 2) * held[0];
  const half4 small = static_cast<half4>(float4(pair, pair));
  held[1] = small.x + dot(float4(1), float4(small.x));
  if (flag) own = pairs[0];
  pairs[i] = own;
  atomic_fetch_add_explicit(&counts[0], 1u, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
  held[2] = simd_sum(held[0]) + simd_shuffle_xor(held[1], 3);
  simdgroup_matrix<float, 8, 8> m = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  simdgroup_load(m, tile, 4, ulong2(0), true);
  simdgroup_multiply_accumulate(m, m, m, m);
  held[3] = m.thread_elements().x;
  simdgroup_store(m, out);
"""


def kernel(outside: str, inside: str) -> str:
    return KERNEL.replace("{outside}", outside).replace("{inside}", inside)


def test_what_is_right_passes():
    twice = "template <class T> T twice(threadgroup const T* x) { return *x * 2; }"
    assert faults(kernel(twice, FINE + "held[0] = twice(tile);")) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    outside, inside, words = FAULTS[name]
    found = faults(kernel(outside, inside))
    assert found and re.search(words, "\n".join(found)), found


@pytest.mark.parametrize(
    ("inside", "version", "word"),
    [
        ("bfloat b = static_cast<bfloat>(held[0]); held[0] = b;", (3, 0), r"bfloat .* came with version 3\.1"),
        ("held[0] = simd_sum(held[0]);", (2, 0), r"simd_sum .* came with version 2\.1"),
        ("if constexpr (sizeof(float) == 4) held[0] = 1;", (3, 1), r"if constexpr .* came with version 4\.0"),
        ("atomic_thread_fence(mem_flags::mem_device, memory_order_relaxed);", (3, 1), r"atomic_thread_fence .* 3\.2"),
        ("} [[clang::optnone]] void g() {", (3, 1), "optnone: not in "),
    ],
)
def test_a_newer_feature_is_found(inside, version, word):
    source = kernel("", inside)
    found = features.faults(source, examine(source)[1], version)
    assert re.search(word, "\n".join(found)), found
    assert features.faults(kernel("", FINE), examine(kernel("", FINE))[1], features.asked_for()) == []


def wrong_in(source: str) -> tuple[list[str], set[features.Feature]]:
    """What is wrong, and which features of the language it uses."""
    found, calls = examine(source)
    used = {feature for feature in features.used(source, calls).values() if feature}
    return found + features.faults(source, calls, features.asked_for()), used


def test_versions_are_those_of_the_interface():
    assert {feature.version for feature in features.table()} <= features.versions()
    assert features.asked_for() in features.versions()


@pytest.mark.skipif(not INTERFACE.exists(), reason="Metal's whole interface is described outside of the repository")
@pytest.mark.parametrize("table", ["enums", "selectors"])
def test_the_stand_in_knows_parts_of_the_interface(table):
    def rows(path: Path) -> set[str]:
        return {line.rstrip() for line in path.read_text().splitlines() if not line.startswith("#")}

    own = rows(ROOT / f"tests/metal/standin/{table}.tsv")
    assert len(own) >= 30
    assert own <= rows(INTERFACE / f"metal_{table}.tsv")


def test_every_source_is_clean(kept_sources):
    # A test of what does not compile is among them.
    files = sorted(file for file in kept_sources.glob("*.metal") if not file.name.startswith("nonsense"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda file: wrong_in(file.read_text()), files))
    found = {file.name: wrong for file, (wrong, _) in zip(files, results, strict=True) if wrong}
    assert not found, f"{len(found)} of {len(files)} sources: {found}"
    used = features.in_words(set().union(*(used for _, used in results)))
    assert f"Used are: {used}." in DOCUMENTATION.read_text(), used


def test_every_kernel_was_among_them(kept_sources):
    sources = [file.read_text() for file in kept_sources.glob("*.metal")]
    included = set(re.findall(r'#line 1 "metal/kernels/(\w+\.\w+)"', "\n".join(sources)))
    files = sorted((ROOT / "metal/kernels").glob("*.metal"))
    assert not {file.name for file in (ROOT / "metal/kernels").iterdir()} - included
    # Templates are checked where they are instantiated.
    instantiated = set(re.findall(r"decltype\((\w+)<", "\n".join(sources)))
    templates = {
        name for file in files for name in re.findall(r">\s*\[\[kernel[^\]]*\]\]\s*void (\w+)", file.read_text())
    }
    assert not templates - instantiated
    rows = [re.findall(r'name = "(\w+)"', file.read_text()) for file in (ROOT / "mlx/graph").glob("elementwise*.h")]
    single = "\n".join(source for source in sources if "one_step" in source)
    missing = {row for names in rows for row in names if f"METAL_FUNC auto op_{row}(" not in single}
    assert missing <= WITHOUT_SOURCE


def test_the_documentation_has_the_table():
    assert features.markdown() in DOCUMENTATION.read_text()

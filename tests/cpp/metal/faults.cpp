// Every detector of the simulator, proven by a kernel with that fault and by one of the same form without it.
// The error names the operation, the kernel, the thread and the line.
#include "check.h"

using namespace test;

namespace {

const char* const head = R"(#include <metal_stdlib>
using namespace metal;
#define BODY device float* out [[buffer(0)]], device float* in [[buffer(1)]], uint i [[thread_position_in_grid]], \
  uint t [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]], uint s [[simdgroup_index_in_threadgroup]]
)";

// Runs a kernel whose body is on lines 10 and following; out and in have 64 floats.
std::string run_body(const std::string& body, Size threads = {64}, Size group = {64},
                     const std::string& before = "") {
  const std::string source =
      std::string(head) + before + "\n#line 9\nkernel void f(BODY) {\n" + body + "\n}\n";
  const std::vector<float> x(64, 1.0f);
  return run({source, "f", {buffer(x), buffer(x)}, threads, group});
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void faulty(const std::string& name, const std::string& body, const std::vector<std::string>& parts,
            Size threads = {64}, Size group = {64}, const std::string& before = "") {
  const std::string error = run_body(body, threads, group, before);
  check(contains(error, "[test] ") && (contains(error, "kernel f") || contains(error, "dispatch")),
        name + ": error is '" + error + "'");
  for (const auto& part : parts)
    check(contains(error, part), name + ": '" + part + "' is not in '" + error + "'");
}
void clean(const std::string& name, const std::string& body, Size threads = {64}, Size group = {64},
           const std::string& before = "") {
  const std::string error = run_body(body, threads, group, before);
  check(error.empty(), name + " is no fault: " + error);
}

void bounds() {
  faulty("read past a buffer", "int k = i;\nout[i] = in[k + 1];",
         {"read of 4 bytes out of bounds", "byte 256 of buffer 1 (in), which has 256", "thread (63, 0, 0)",
          "test.metal:11"});
  clean("read inside a buffer", "out[i] = in[(i + 1) % 64];");
  faulty("write before a buffer", "\nout[int(i) - 1] = 1;",
         {"write of 4 bytes out of bounds", "byte -4 of buffer 0", "thread (0, 0, 0)", "test.metal:11"});
  faulty("half of a vector outside",
         "device float4* v = (device float4*)in;\nout[i] = 0; if (i == 16) out[0] = v[i].x;",
         {"out of bounds", "test.metal:11"}, {64}, {64});
  faulty(
      "past a threadgroup variable", "threadgroup float held[64];\nheld[t + 1] = 1;",
      {"write of 4 bytes out of bounds", "threadgroup variable held", "thread (63, 0, 0)", "test.metal:11"});
  clean("inside a threadgroup variable", "threadgroup float held[65];\nheld[t + 1] = 1;");
  faulty("a null pointer", "device float* p = in; p -= 1ul << 40;\nout[i] = *p;",
         {"out of bounds", "no memory of this kernel is near", "test.metal:11"});
}

void initialisation() {
  faulty("uninitialised threadgroup memory",
         "threadgroup float held[64];\nif (t < 63) held[t] = "
         "1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = held[t];",
         {"read of uninitialised threadgroup memory", "byte 252 of threadgroup variable held",
          "thread (63, 0, 0)", "test.metal:13"});
  clean("initialised threadgroup memory",
        "threadgroup float held[64];\nheld[t] = 1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] "
        "= held[t];");
  faulty("half of a word uninitialised",
         "threadgroup half held[128];\nheld[2 * t] = "
         "1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = held[2 * t + 1];",
         {"read of uninitialised threadgroup memory: 2 bytes", "test.metal:13"});
  faulty("another group's threadgroup memory",
         "threadgroup float held[1];\nif (i == 0) held[0] = "
         "1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nif (t == 0) out[i] = held[0];",
         {"read of uninitialised threadgroup memory", "threadgroup (1, 0, 0)"}, {64}, {32});
}

void races() {
  faulty("threadgroup race",
         "threadgroup float held[64];\nheld[t] = i;\nout[i] = t == 63 ? held[63 - t] : 0;",
         {"race: read of 4 bytes", "threadgroup variable held",
          "which thread (0, 0, 0) wrote at test.metal:11", "thread (63, 0, 0)", "test.metal:12"});
  faulty(
      "threadgroup write after read",
      "threadgroup float held[64]; held[t] = i;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nfloat x = "
      "held[(t + 1) % 64];\nheld[t] = x; out[i] = x;",
      {"race: write", "which thread (32, 0, 0) read at test.metal:12", "thread (33, 0, 0)", "test.metal:13"},
      {64}, {64});
  clean("threadgroup write after read and barrier",
        "threadgroup float held[64]; held[t] = i;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nfloat x "
        "= held[(t + 1) % 64];\n"
        "threadgroup_barrier(mem_flags::mem_threadgroup);\nheld[t] = x; out[i] = x;");
  faulty(
      "all write one place",
      "threadgroup float held;\nheld = 1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = held;",
      {"race: write", "test.metal:11"});
  clean("one writes, all read",
        "threadgroup float held;\nif (t == 0) held = "
        "1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = held;");
  faulty("one thread of many readers writes",
         "threadgroup float held;\nif (t == 0) held = "
         "1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = held;\nif (t == 63) held = 2;",
         {"race: ", "test.metal:13", "test.metal:14"});
  faulty("the wrong kind of barrier",
         "threadgroup float held[64];\nheld[t] = i;\nthreadgroup_barrier(mem_flags::mem_device);\nout[i] = "
         "held[63 - t];",
         {"race: read", "test.metal:13"});
  clean("neighbouring bytes",
        "threadgroup uchar held[64];\nheld[t] = i;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] "
        "= held[63 - t];");
  faulty("device race in a group", "out[i] = i;\nin[i] = out[63 - i];",
         {"race: write of 4 bytes", "buffer 0 (out), which thread (31, 0, 0) read at test.metal:11",
          "thread (32, 0, 0)", "test.metal:10"});
  clean("device memory and a barrier",
        "out[i] = i;\nthreadgroup_barrier(mem_flags::mem_device);\nin[i] = out[63 - i];");
  faulty(
      "device race between groups",
      "out[i] = i;\nthreadgroup_barrier(mem_flags::mem_device);\nin[i] = out[63 - i];",
      {"race: write of 4 bytes", "a thread of threadgroup (0, 0, 0) read at test.metal:12", "test.metal:10"},
      {64}, {32});
  faulty("writes of two groups", "out[t] = i;", {"race: write of 4 bytes", "threadgroup (0, 0, 0) wrote"},
         {64}, {32});
  clean("reads of two groups", "out[i] = in[t];", {64}, {32});
  faulty("a write where another group read", "out[i] = in[0];\nif (i == 32) in[0] = 2;",
         {"race: write", "read at test.metal:10", "test.metal:11"}, {64}, {32});
  clean("SIMD-groups order their own lanes",
        "threadgroup float held[64];\nheld[t] = i;\nsimdgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = "
        "held[t ^ 1];");
  faulty("SIMD-groups do not order others",
         "threadgroup float held[64];\nheld[t] = i;\nsimdgroup_barrier(mem_flags::mem_threadgroup);\nout[i] "
         "= t == 63 ? held[0] : 0;",
         {"race: read", "test.metal:13"});
  clean("atomics", "atomic_fetch_add_explicit((device atomic_uint*)out, 1, memory_order_relaxed);", {64},
        {32});
  faulty("atomics and plain reads",
         "atomic_fetch_add_explicit((device atomic_uint*)out, 1, memory_order_relaxed);\nif (i == 63) in[i] "
         "= out[0];",
         {"race: read", "wrote at test.metal:10", "test.metal:11"}, {64}, {32});
  faulty("atomics and plain writes",
         "if (i == 40) out[0] = 0;\natomic_fetch_add_explicit((device atomic_uint*)out, 1, "
         "memory_order_relaxed);",
         {"race: write"}, {64}, {32});
}

void divergence() {
  faulty("divergent barrier", "if (t < 32)\nthreadgroup_barrier(mem_flags::mem_none);\nout[i] = 1;",
         {"barrier that not all threads reach", "test.metal:11"});
  faulty("two barriers",
         "if (t < "
         "32)\nthreadgroup_barrier(mem_flags::mem_none);\nelse\nthreadgroup_barrier(mem_flags::mem_none);",
         {"divergent barrier", "test.metal:11", "test.metal:13"});
  clean("a uniform barrier", "if (out[0] == 1)\nthreadgroup_barrier(mem_flags::mem_none);");
  faulty("a barrier after a return", "if (t == 5) return;\nthreadgroup_barrier(mem_flags::mem_none);",
         {"barrier that not all threads reach", "test.metal:11"});
  faulty("divergent SIMD operations",
         "if (lane < 16)\nout[i] = simd_sum(1.0);\nelse\nout[i] = simd_sum(2.0);",
         {"divergent SIMD operation", "test.metal:11", "test.metal:13"});
  faulty("a SIMD operation beside a barrier",
         "if (lane < 16)\nout[i] = simd_sum(1.0);\nthreadgroup_barrier(mem_flags::mem_none);",
         {"divergent SIMD operation", "test.metal:11", "test.metal:12"});
  clean("SIMD-groups may part",
        "if (s == 0)\nout[i] = simd_sum(1.0);\nthreadgroup_barrier(mem_flags::mem_none);");
  clean("lanes that ended", "if (lane > 20) return;\nout[i] = simd_sum(1.0);");
  faulty("a lane that is not there", "if (lane > 20) return;\nout[i] = simd_shuffle(1.0, 30);",
         {"value of lane 30, which takes no part", "test.metal:11"});
}

void limits() {
  faulty("too much threadgroup memory",
         "threadgroup float a[8000];\nthreadgroup float b[500];\na[t] = 1; b[t] = 2;",
         {"too much threadgroup memory", "34000 bytes"});
  clean("much threadgroup memory",
        "threadgroup float a[8000];\nthreadgroup float b[192];\na[t] = 1; b[t] = 2;");
  faulty("too many threads", "out[0] = 1;", {"threadgroups of 2048 threads", "allows 1 to 1024"}, {2048},
         {2048});
  faulty("more threads than the kernel says", "", {"threadgroups of 64 threads", "allows 1 to 32"}, {64},
         {64}, "#undef BODY\n#define BODY device float* out\n[[max_total_threads_per_threadgroup(32)]]");
  faulty(
      "stack overflow",
      "float big[100000]; for (int k = 0; k < 100000; ++k) big[k] = in[k % 64];\nout[i] = big[int(in[i])];",
      {"stack overflow"});
  faulty("recursion", "out[i] = deep(int(i) + 1000000, in);", {"stack overflow"}, {64}, {64},
         "float deep(int n, device float* p) { return n == 0 ? *p : deep(n - 1, p) * 0.5 + p[0]; }");
  faulty("division that overflows", "int low = -2147483647 - int(in[i]);\nout[i] = low / -int(in[i]);",
         {"integer division that overflows", "test.metal:11"});
  faulty("division by zero", "int zero = in[i] - 1;\nout[i] = 7 / zero;",
         {"integer division by zero", "test.metal:11"});
  faulty("remainder of division by zero", "uint zero = in[i] - 1;\nout[i] = i % zero;",
         {"integer division by zero", "test.metal:11"});
  clean("division", "int two = in[i] + 1;\nout[i] = 7 / two + 1 / 0.0;");
}

void endless() {
  faulty("an endless loop", "\nwhile (i < 1) i *= 2;\nout[i] = 1;",
         {"ran out of time (0.5 s)", "test.metal:"});
  faulty("an endless loop that reads", "\nwhile (in[0] == 1) out[0] += 1;",
         {"ran out of time (0.5 s)", "test.metal:11"}, {1}, {1});
  faulty("an endless loop in a library", "float x = 1;\nwhile (x < 2) x = sin(x) * in[0];\nout[i] = x;",
         {"ran out of time (0.5 s)"}, {1}, {1});
  faulty("endless barriers", "while (in[0] == 1)\nthreadgroup_barrier(mem_flags::mem_none);",
         {"ran out of time (0.5 s)"});
}

void arguments() {
  const std::string source = std::string(head) + R"(
    struct Shape { uint4 sizes; float scale; };
    kernel void f(device float4* out [[buffer(0)]], constant Shape& shape [[buffer(1)]], const device float* unused [[buffer(3)]],
                  uint i [[thread_position_in_grid]]) {
      out[i] = shape.scale * shape.sizes.x;
    }
    kernel void g(constant float* p [[buffer(0)]]) {
      *(device float*)(p) = 1;
    }
    kernel void h(threadgroup float* p [[threadgroup(0)]], uint i [[thread_position_in_grid]]) { p[i] = 1; }
  )";
  const auto out = buffer(std::vector<float>(64)), shape = buffer(std::vector<float>(8)),
             small = buffer(std::vector<float>(4));
  CHECK(run({source, "f", {out, shape, nullptr, out}, {16}, {16}}) == "");
  CHECK(contains(run({source, "f", {out, nullptr, nullptr, out}, {16}, {16}}),
                 "argument shape (buffer 1) is not set"));
  CHECK(contains(run({source, "f", {out, small, nullptr, out}, {16}, {16}}),
                 "argument shape (buffer 1) has 16 bytes, its type 32"));
  CHECK(contains(run({source, "g", {out}, {1}, {1}}), "write to constant memory"));
  CHECK(contains(run({source, "h", {}, {16}, {16}}), "argument p (threadgroup memory 0) is not set"));
  CHECK(contains(run({source, "h", {}, {16}, {16}, {}, {48}}), "out of bounds"));
  CHECK(run({source, "h", {}, {16}, {16}, {}, {64}}) == "");
  const auto queue = device()->new_queue();
  const auto bound_at = [&](size_t offset) -> std::string {
    const auto commands = queue->command_buffer();
    commands->set_pipeline(device()->compile(source, "test.metal")->pipeline("f"));
    commands->set_buffer(0, out, offset, 64);
    commands->set_buffer(1, shape, 0, 32);
    commands->set_buffer(3, out, 128, 0);
    commands->dispatch_threads({4}, {4}, "test");
    commands->commit();
    try {
      commands->wait();
    } catch (const DeviceError& e) {
      return e.what();
    }
    return "";
  };
  CHECK(bound_at(16) == "");
  CHECK(contains(bound_at(4), "argument out (buffer 0) is misaligned"));
  faulty("misaligned vector",
         "device float4* v = (device float4*)(in + 1);\nout[i] = 0; if (i == 0) *v = float4(1);",
         {"misaligned write of 16 bytes", "test.metal:11"});
  clean("aligned vector",
        "device float4* v = (device float4*)(in + 4);\nout[i] = 0; if (i == 0) *v = float4(1);");
}

// Two dispatches of one command buffer.
std::string two(bool barrier, bool second_reads) {
  const std::string source = std::string(head) + R"(
    kernel void f(BODY) { out[i] = in[i] + 1; }
  )";
  const std::vector<float> x(64, 1.0f);
  const auto a = buffer(x), b = buffer(x), c = buffer(x);
  static const auto queue = device()->new_queue();
  const auto commands = queue->command_buffer();
  encode(commands, {source, "f", {b, a}, {64}, {64}}, "first");
  if (barrier) commands->barrier();
  encode(commands, {source, "f", {c, second_reads ? b : a}, {64}, {64}}, "second");
  commands->commit();
  try {
    commands->wait();
  } catch (const DeviceError& e) {
    return e.what();
  }
  CHECK(values<float>(c)[63] == (second_reads ? 3 : 2));
  return "";
}

void hazards() {
  const std::string error = two(false, true);
  CHECK(contains(error, "[second] hazard between dispatches: read of 4 bytes at byte 0 of buffer 1"));
  CHECK(contains(error, "which dispatch first (kernel f) wrote, and no barrier()"));
  CHECK(two(true, true) == "");
  CHECK(two(false, false) == "");
}

}  // namespace

int main() {
  setenv("MLX_METAL_SIMULATOR_TIMEOUT", "0.5", 1);
  bounds();
  initialisation();
  races();
  divergence();
  limits();
  endless();
  arguments();
  hazards();
  return report();
}

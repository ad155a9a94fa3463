// Sources as people write them: what of the language the transform must leave alone or rewrite.
#include "check.h"

using namespace test;

namespace {

const std::string source = R"msl(
#include <metal_stdlib>
#include <metal_simdgroup>
using namespace metal;

#define instantiate_kernel(name, func, ...) \
  template [[host_name(name)]] [[kernel]] decltype(func<__VA_ARGS__>) func<__VA_ARGS__>;

constant uint LOOKUP[4] = {1u, 10u, 100u, 1000u};
constant constexpr float HALF_STEP = .5;
static constant constexpr const int N_READS = 4;

enum class Mode : ushort { plain, doubled };

struct Params {
  int size;
  float scale;
  packed_float3 offset;
  constexpr bool large() const constant { return size > 8; }
};

template <typename T, int N = 4>
struct Block {
  static constant constexpr int length = N;
  thread T values[N];
  METAL_FUNC T sum() const thread {
    T s = 0;
    #pragma clang loop unroll(full)
    for (short i = 0; i < N; i++) s += values[i];
    return s;
  }
  template <typename U>
  METAL_FUNC void load(const device U* from) {
    _Pragma("unroll")
    for (int i = 0; i < N; i++) values[i] = static_cast<T>(from[i]);
  }
};

template <typename T> inline T ceildiv(T a, T b) { return (a + b - 1) / b; }
inline float at(const constant float* p, int i) { return p[i]; }
inline void put(threadgroup float* shared, thread const float& x, uint i) { shared[i] = x; }
template <typename T> METAL_FUNC T total(threadgroup T (&shared)[8]) {
  T s = 0;
  for (threadgroup T* p = shared; p != shared + 8; ++p) s += *p;
  return s;
}
namespace inner {
struct Add {
  template <typename T> T operator()(T a, T b) { return a + b; }
};
}

template <typename T, typename Op, Mode mode>
[[kernel, max_total_threads_per_threadgroup(64)]] void combine(
    device const T* a [[buffer(0)]],
    const device T* b [[buffer(1)]],
    device T* out [[buffer(2)]],
    const constant Params& params [[buffer(3)]],
    constant const float* table [[buffer(4)]],
    uint3 gid [[thread_position_in_grid]],
    uint3 lid [[thread_position_in_threadgroup]],
    uint simd_gid [[simdgroup_index_in_threadgroup]]) {
  threadgroup float shared[Block<T, 8>::length], other[2][4];
  threadgroup atomic_uint count;
  put(shared, float(gid.x), lid.x);
  if (lid.x < 2) { for (int k = 0; k < N_READS; k++) other[lid.x][k] = k; }
  if (lid.x == 0) atomic_store_explicit(&count, 0u, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  atomic_fetch_add_explicit(&count, 1u, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  Block<T> block;
  block.load(a);
  T x = Op()(a[gid.x], b[gid.x]);
  if (mode == Mode::doubled) x *= T(2);
  const float extra = (params.large() ? 1.0 : -1e0) + at(table, 1) * HALF_STEP + float3(params.offset).z + LOOKUP[2]
      + total(shared) + other[1][3] + atomic_load_explicit(&count, memory_order_relaxed);
  out[gid.x] = static_cast<T>(float(x) * params.scale + extra + float(block.sum()) + ceildiv(7, 2));
}
instantiate_kernel("combine_float", combine, float, inner::Add, Mode::plain)
instantiate_kernel("combine_half", combine, half, inner::Add, Mode::doubled)

[[host_name("renamed")]] kernel void plain(device int* out [[buffer(0)]], ushort2 p [[thread_position_in_grid]]) {
  auto f = [&](int k) { return k * 2; };
  int x = p.x;
  out[p.x] = f(x >= 2 ? x : -x) + (0x1F & ~0xe0) + 'a' % 2 + 1'000;
}

constant bool use_mask [[function_constant(20)]];
constant bool not_masked = !use_mask;
kernel void masked(device float* out [[buffer(0)]],
                   device const float* mask [[buffer(1), function_constant(use_mask)]],
                   uint i [[thread_position_in_grid]]) {
  out[i] = 1;
  if (use_mask) out[i] = mask[i];
  if (not_masked) out[i] += 1;
}
)msl";

void combines() {
  std::vector<float> x(8);
  for (size_t i = 0; i < 8; ++i) x[i] = float(i);
  struct {
    int size = 8;
    float scale = 2;
    float offset[3] = {1, 2, 3};
  } params;
  auto parameters = device()->allocate(sizeof(params));
  std::memcpy(parameters->contents(), &params, sizeof(params));
  const auto out = buffer(x), table = buffer(std::vector<float>{0, 4});
  const std::string error =
      run({source, "combine_float", {buffer(x), buffer(x), out, parameters, table}, {8}, {8}});
  check(error.empty(), error);
  // extra: -1 + 2 + 3 + 100 + 28 + 3 + 8; the block: 6; ceildiv: 4
  if (error.empty()) CHECK(values<float>(out)[3] == 12 + 143 + 6 + 4);
  CHECK(device()->compile(source, "test.metal")->pipeline("combine_half")->max_threads_per_threadgroup() ==
        64);
}

void others() {
  const auto out = buffer(std::vector<int>(4));
  const std::string error = run({source, "renamed", {out}, {4}, {4}});
  check(error.empty(), error);
  CHECK(values<int>(out) == (std::vector<int>{31 + 1 + 1000, 31 + 1 + 1000 - 2, 4 + 1032, 6 + 1032}));
  const auto y = buffer(std::vector<float>(4)), mask = buffer(std::vector<float>{4, 5, 6, 7});
  CHECK(run({source, "masked", {y}, {4}, {4}, {{20, false}}}) == "");
  CHECK(values<float>(y)[1] == 2);
  CHECK(run({source, "masked", {y, mask}, {4}, {4}, {{20, true}}}) == "");
  CHECK(values<float>(y)[1] == 5);
  CHECK(run({source, "masked", {y}, {4}, {4}, {{20, true}}}).find("argument mask (buffer 1) is not set") !=
        std::string::npos);
  bool missing = false;
  try {
    device()->compile(source, "test.metal")->pipeline("masked");
  } catch (const std::invalid_argument& e) {
    missing = std::string(e.what()).find("use_mask") != std::string::npos;
  }
  CHECK(missing);
}

}  // namespace

int main() {
  combines();
  others();
  return report();
}

// Attention, forward: blocks of nr queries against blocks of keys, with a running maximum and sum per query;
// and decoding, where the few queries of all heads that share a key head are the rows of two skinny products.
#include "mlx/cpu/gemm/attention.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "mlx/cpu/gemm/attention_tiles.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

using namespace gemm_detail;

namespace {

constexpr int64_t kPackedAtMost = int64_t{16} << 20;  // bytes of K and V packed at once
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Sums of one query at the end: what the row of the output is multiplied by.
float finished(const AttentionCall& call, int64_t b, int64_t h, int64_t q, float m, float l) {
  const float inverse = 1.0f / l;
  if (call.stats) {
    float* to = call.stats + ((b * call.heads + h) * call.lq + q) * 2;
    to[0] = m;
    to[1] = inverse;
  }
  return inverse;
}

// --- blocks of queries
// ----------------------------------------------------------------------------------------------

class Forward {
 public:
  Forward(const GemmTable& g, const AttentionTable& t, const AttentionCall& call)
      : x_(g, t, call),
        c_(call),
        key_blocks_(blocks_of(call.lk, kKeyBlock)),
        k_size_(x_.rows_size(kKeyBlock, call.d)),
        v_size_(x_.turned_size(kKeyBlock, call.dv)) {}

  void operator()() {
    const int64_t units = c_.batch * c_.kv_heads, unit_size = key_blocks_ * (k_size_ + v_size_);
    const int64_t at_once = std::clamp<int64_t>(kPackedAtMost / std::max<int64_t>(1, unit_size * 4), 1,
                                                std::max<int64_t>(1, units));
    Workspace packed(at_once * unit_size * 4);
    packed_ = packed.as<float>();
    const int64_t query_blocks = blocks_of(c_.lq, x_.f.nr);
    for (int64_t u0 = 0; u0 < units; u0 += at_once) {
      const int64_t count = std::min(at_once, units - u0);
      parallel_for(count * key_blocks_,
                   [&](int64_t item) { pack(u0, item / key_blocks_, item % key_blocks_); });
      const int64_t per_unit = x_.group * query_blocks;
      parallel_for(count * per_unit, [&](int64_t item) {
        const int64_t u = item / per_unit, in_unit = item % per_unit;
        // Last queries first: with a causal mask they are the longest.
        block(u0 + u, u, in_unit / query_blocks, (query_blocks - 1 - in_unit % query_blocks) * x_.f.nr);
      });
    }
  }

 private:
  float* packed_block(int64_t slot, int64_t block) const {
    return packed_ + (slot * key_blocks_ + block) * (k_size_ + v_size_);
  }
  void pack(int64_t u0, int64_t slot, int64_t block) const {
    const int64_t b = (u0 + slot) / c_.kv_heads, h = (u0 + slot) % c_.kv_heads;
    const int64_t k0 = block * kKeyBlock, keys = std::min(kKeyBlock, c_.lk - k0);
    float* to = packed_block(slot, block);
    x_.pack_rows(c_.k, b, h, k0, keys, c_.d, to);
    x_.pack_turned(c_.v, b, h, k0, keys, c_.dv, to + k_size_);
  }

  void block(int64_t unit, int64_t slot, int64_t in_group, int64_t q0) const {
    const int64_t nr = x_.f.nr, rows = std::min<int64_t>(nr, c_.lq - q0);
    const int64_t b = unit / c_.kv_heads, h = unit % c_.kv_heads * x_.group + in_group;
    Workspace space((nr * (c_.d + c_.dv + 2 * kKeyBlock + 4)) * 4);
    float* q = space.as<float>();
    float* o = q + nr * c_.d;
    float* s = o + nr * c_.dv;
    float* scratch = s + nr * kKeyBlock;
    float* m = scratch + nr * kKeyBlock;
    float* l = m + nr;
    float* correction = l + nr;
    x_.pack_lanes(c_.q, b, h, q0, rows, c_.d, q);
    x_.t.scale(q, nr * c_.d, x_.factor);
    std::fill(m, m + nr, c_.sinks ? c_.sinks[h] * kLog2e : kMinusInfinity);
    std::fill(l, l + nr, c_.sinks ? 1.0f : 0.0f);
    const int64_t end = x_.keys_end(q0, rows);
    for (int64_t k0 = 0; k0 < end; k0 += kKeyBlock) {
      const int64_t keys = std::min(kKeyBlock, end - k0), packed_keys = std::min(kKeyBlock, c_.lk - k0);
      const float* panels = packed_block(slot, k0 / kKeyBlock);
      x_.multiply(keys, c_.d, panels, q, s, false);
      x_.mask_lanes(s, b, h, q0, rows, k0, keys, scratch);
      x_.t.softmax_tile(s, keys, m, l, correction);
      if (k0 > 0) x_.t.rescale(o, c_.dv, correction);
      x_.f.tile(c_.dv, nr, keys, panels + k_size_, packed_keys * x_.f.mr * 4, s, 0, nr, o, nr, k0 > 0);
    }
    if (end <= 0) std::memset(o, 0, static_cast<size_t>(nr * c_.dv * 4));
    for (int64_t i = 0; i < nr; ++i)
      correction[i] = i < rows ? finished(c_, b, h, q0 + i, m[i], c_.lk > 0 ? l[i] : 1.0f) : 0.0f;
    x_.t.store_transposed[x_.elem](o, c_.dv, static_cast<int>(rows), correction,
                                   const_cast<char*>(x_.at(c_.out, b, h, q0)), c_.out.row);
  }

  const AttentionTiles x_;
  const AttentionCall& c_;
  const int64_t key_blocks_, k_size_, v_size_;
  float* packed_ = nullptr;
};

// --- decoding
// -------------------------------------------------------------------------------------------------------

constexpr int64_t kDecodeRows = 16;          // queries per key head, over its group
constexpr int64_t kDecodeBytes = 256 << 10;  // of K and V in an item

bool decodes(const AttentionCall& c, int64_t group) {
  return c.lk > 0 && c.lq * group <= kDecodeRows && c.k.col == 1 && c.v.col == 1 && c.d > 0 && c.dv > 0;
}

void decode(const GemmTable& g, const AttentionTable& t, const AttentionCall& c) {
  const AttentionTiles x(g, t, c);
  const int64_t size = kElemSize[x.elem], rows = c.lq * x.group, units = c.batch * c.kv_heads;
  const int64_t keys_per_item = std::clamp<int64_t>(kDecodeBytes / ((c.d + c.dv) * size) / 64 * 64, 64,
                                                    std::max<int64_t>(64, (c.lk + 63) / 64 * 64));
  const int64_t pieces = blocks_of(c.lk, keys_per_item);
  const Skinny& dot = g.dot[x.elem];
  const Skinny& axpy = g.axpy[x.elem];
  const int64_t ldq = (c.d + 31) / 32 * 32;
  const int64_t part = rows * (c.dv + 2);  // output, maximum, sum
  Workspace parts(units * pieces * part * 4);
  parallel_for(units * pieces, [&](int64_t item) {
    const int64_t unit = item / pieces, b = unit / c.kv_heads, kv = unit % c.kv_heads;
    const int64_t k0 = item % pieces * keys_per_item, keys = std::min(keys_per_item, c.lk - k0);
    float* o = parts.as<float>() + item * part;
    float* stats = o + rows * c.dv;
    const int64_t lds = (keys + 31) / 32 * 32;
    Workspace q_space(rows * ldq * dot.x_size), s_space(rows * lds * 4);
    float* s = s_space.as<float>();
    for (int64_t r = 0; r < rows; ++r) {
      char* to = q_space.as<char>() + r * ldq * dot.x_size;
      dot.copy_x(x.at(c.q, b, kv * x.group + r / c.lq, r % c.lq), c.q.col, c.d, to);
      std::memset(to + c.d * dot.x_size, 0, static_cast<size_t>((ldq - c.d) * dot.x_size));
    }
    for (int64_t r = 0; r < rows; r += kMaxSkinny) {
      const int count = static_cast<int>(std::min<int64_t>(kMaxSkinny, rows - r));
      dot.run(count, c.d, keys, q_space.as<char>() + r * ldq * dot.x_size, ldq, x.at(c.k, b, kv, k0), c.k.row,
              s + r * lds, lds);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t h = kv * x.group + r / c.lq, q = r % c.lq;
      float* row = s + r * lds;
      // Additive masks are in natural units: undo the factor that softmax_row applies to all.
      if (c.mask_kind != AttentionMask::none) {
        t.scale(row, lds, x.factor);
        const int64_t offset = b * c.mask.batch + h * c.mask.head + q * c.mask.row + k0 * c.mask.col;
        if (c.mask_kind == AttentionMask::boolean) {
          const uint8_t* mask = static_cast<const uint8_t*>(c.mask.data) + offset;
          for (int64_t j = 0; j < keys; ++j)
            if (!mask[j * c.mask.col]) row[j] = kMaskedScore;
        } else {
          Workspace widened(lds * 4);
          g.axpy[x.elem].copy_x(static_cast<const char*>(c.mask.data) + offset * size, c.mask.col, keys,
                                widened.data());
          for (int64_t j = 0; j < keys; ++j) row[j] += kLog2e * widened.as<float>()[j];
        }
      }
      if (c.causal)
        for (int64_t j = std::max<int64_t>(0, q + c.lk - c.lq + 1 - k0); j < keys; ++j) row[j] = kMaskedScore;
      float* m = stats + 2 * r;
      m[0] = kMinusInfinity;
      m[1] = 0;
      t.softmax_row(row, keys, c.mask_kind != AttentionMask::none ? 1.0f : x.factor, &m[0], &m[1]);
      std::fill(row + keys, row + lds, 0.0f);
    }
    for (int64_t r = 0; r < rows; r += kMaxSkinny) {
      const int count = static_cast<int>(std::min<int64_t>(kMaxSkinny, rows - r));
      axpy.run(count, keys, c.dv, s + r * lds, lds, x.at(c.v, b, kv, k0), c.v.row, o + r * c.dv, c.dv);
    }
  });
  // Pieces of one row meet: each sum shrinks by 2^(its maximum - the largest).
  for (int64_t unit = 0; unit < units; ++unit)
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t b = unit / c.kv_heads, h = unit % c.kv_heads * x.group + r / c.lq, q = r % c.lq;
      float* first = parts.as<float>() + unit * pieces * part;
      float m = c.sinks ? c.sinks[h] * kLog2e : kMinusInfinity;
      for (int64_t p = 0; p < pieces; ++p) {
        const float here = first[p * part + rows * c.dv + 2 * r];
        if (here > m) m = here;
      }
      const float base = m == kMinusInfinity ? 0.0f : m;
      float l = c.sinks ? std::exp2(c.sinks[h] * kLog2e - base) : 0.0f;
      float* total = first + r * c.dv;
      for (int64_t p = 0; p < pieces; ++p) {
        const float* from = first + p * part;
        const float w = std::exp2(from[rows * c.dv + 2 * r] - base);
        l += from[rows * c.dv + 2 * r + 1] * w;
        const float* o = from + r * c.dv;
        for (int64_t j = 0; j < c.dv; ++j) total[j] = p == 0 ? o[j] * w : total[j] + o[j] * w;
      }
      const double inverse = finished(c, b, h, q, m, l);
      g.finish[x.elem](1, c.dv, total, c.dv, const_cast<char*>(x.at(c.out, b, h, q)), c.dv, inverse, 0,
                       nullptr, 0, 0);
    }
}

void run(const GemmTable& g, const AttentionTable& t, const AttentionCall& c) {
  if (c.batch <= 0 || c.heads <= 0 || c.lq <= 0 || c.dv <= 0) return;
  if (decodes(c, c.heads / c.kv_heads)) return decode(g, t, c);
  Forward forward(g, t, c);
  forward();
}

}  // namespace

void attention(const AttentionCall& call) { run(gemm_kernels(), attention_kernels(), call); }
void attention_for(Isa isa, const AttentionCall& call) {
  run(gemm_kernels_for(isa), attention_kernels_for(isa), call);
}

}  // namespace mlx::core::cpu

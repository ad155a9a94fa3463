// Attention, backward. With P = softmax(S), S = scale * Q K^T + mask, and delta = rowsum(dO * O):
//
//     dV = P^T dO,   dP = dO V^T,   dS = P * (dP - delta),   dQ = scale * dS K,   dK = scale * dS^T Q.
//
// P is recomputed from the statistics of the forward pass. Where there are enough batches and heads to share
// out, one item does all of a key head: S is computed once, and operands are read where they lie. Else there
// are two passes, one over blocks of queries (dQ) and one over blocks of keys (dK, dV): S is computed twice,
// and in return every sum has one owner and a fixed order.
#include <cstring>

#include "mlx/cpu/gemm/attention.h"
#include "mlx/cpu/gemm/attention_tiles.h"
#include "mlx/cpu/gemm/direct.h"
#include "mlx/cpu/gemm/workspace.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

using namespace gemm_detail;

namespace {

constexpr int64_t kPackedAtMost = int64_t{24} << 20;  // bytes packed at once
constexpr int64_t kManyUnits = 16;                    // batches times key heads that are shared out whole
constexpr int64_t kUnitAtMost = int64_t{4} << 20;     // bytes of one's operands

// What one block of `nr` keys, a lane each, is worked on in.
struct KeyScratch {
  KeyScratch(int64_t nr, const AttentionCall& c)
      : space((nr * (2 * c.d + 2 * c.dv + 3 * kKeyBlock + 2) + 3 * kKeyBlock) * 4),
        k(space.as<float>()),
        v(k + nr * c.d),
        dk(v + nr * c.dv),
        dv(dk + nr * c.d),
        s(dv + nr * c.dv),
        dp(s + nr * kKeyBlock),
        scratch(dp + nr * kKeyBlock),
        scale(scratch + nr * kKeyBlock),
        one(scale + nr),
        m(one + nr),
        inverse(m + kKeyBlock),
        delta(inverse + kKeyBlock) {
    std::fill(scale, scale + nr, c.scale);
    std::fill(one, one + nr, 1.0f);
  }
  const Workspace space;
  float *const k, *const v, *const dk, *const dv;  // dv follows dk
  float *const s, *const dp, *const scratch;       // a block of queries, a row each
  float *const scale, *const one;                  // per key
  float *const m, *const inverse, *const delta;    // per query
};

class Backward {
 public:
  Backward(const GemmTable& g, const AttentionTable& t, const DirectTable& direct, const AttentionCall& call,
           const AttentionGradients& grads)
      : g_(g),
        direct_(direct),
        x_(g, t, call),
        c_(call),
        d_(grads),
        delta_space_(call.batch * call.heads * call.lq * 4),
        delta_(delta_space_.as<float>()) {}

  void operator()() {
    find_delta();
    const int64_t units = c_.batch * c_.kv_heads;
    if (units >= kManyUnits && whole_floats() * 4 <= kUnitAtMost && d_.dq.data && d_.dk.data && d_.dv.data)
      return parallel_for(units, [&](int64_t unit) { whole(unit / c_.kv_heads, unit % c_.kv_heads); });
    if (d_.dq.data) queries_pass();
    if (d_.dk.data || d_.dv.data) keys_pass();
  }

 private:
  void find_delta() {
    const int64_t rows = c_.batch * c_.heads * c_.lq;
    parallel_ranges(
        rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, c_.dv)), [&](int64_t begin, int64_t end) {
          Workspace space(2 * c_.dv * 4);
          float* o = space.as<float>();
          float* g = o + c_.dv;
          const auto widen = g_.axpy[x_.elem].copy_x;
          for (int64_t r = begin; r < end; ++r) {
            const int64_t b = r / (c_.heads * c_.lq), h = r / c_.lq % c_.heads, q = r % c_.lq;
            widen(x_.at(c_.out, b, h, q), c_.out.col, c_.dv, o);
            widen(x_.at(d_.dout, b, h, q), d_.dout.col, c_.dv, g);
            float sums[8] = {};
            for (int64_t j = 0; j < c_.dv; ++j) sums[j % 8] += o[j] * g[j];
            delta_[r] =
                ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
          }
        });
  }

  // Units (batch, key head) whose packed operands fit, phase by phase.
  template <class Pack, class Work>
  void in_groups(int64_t unit_floats, int64_t pack_items, int64_t work_items, Pack&& pack, Work&& work) {
    const int64_t units = c_.batch * c_.kv_heads;
    const int64_t at_once = std::clamp<int64_t>(kPackedAtMost / std::max<int64_t>(1, unit_floats * 4), 1,
                                                std::max<int64_t>(1, units));
    Workspace packed(at_once * unit_floats * 4);
    for (int64_t u0 = 0; u0 < units; u0 += at_once) {
      const int64_t count = std::min(at_once, units - u0);
      parallel_for(count * pack_items, [&](int64_t item) {
        const int64_t slot = item / pack_items;
        pack(u0 + slot, packed.as<float>() + slot * unit_floats, item % pack_items);
      });
      parallel_for(count * work_items, [&](int64_t item) {
        const int64_t slot = item / work_items;
        work(u0 + slot, packed.as<float>() + slot * unit_floats, item % work_items);
      });
    }
  }

  void row_stats(int64_t b, int64_t h, int64_t q0, int64_t rows, float* m, float* inverse,
                 float* delta) const {
    const int64_t first = (b * c_.heads + h) * c_.lq + q0;
    for (int64_t i = 0; i < rows; ++i) {
      m[i] = c_.stats[2 * (first + i)];
      inverse[i] = c_.stats[2 * (first + i) + 1];
      delta[i] = delta_[first + i];
    }
  }

  void queries_pass() {
    const int64_t nr = x_.f.nr, key_blocks = blocks_of(c_.lk, kKeyBlock), query_blocks = blocks_of(c_.lq, nr);
    const int64_t k_rows = x_.rows_size(kKeyBlock, c_.d), v_rows = x_.rows_size(kKeyBlock, c_.dv);
    const int64_t k_turned = x_.turned_size(kKeyBlock, c_.d), block_size = k_rows + v_rows + k_turned;
    const auto pack = [&](int64_t unit, float* to, int64_t block) {
      const int64_t b = unit / c_.kv_heads, kv = unit % c_.kv_heads;
      const int64_t k0 = block * kKeyBlock, keys = std::min(kKeyBlock, c_.lk - k0);
      to += block * block_size;
      x_.pack_rows(c_.k, b, kv, k0, keys, c_.d, to);
      x_.pack_rows(c_.v, b, kv, k0, keys, c_.dv, to + k_rows);
      x_.pack_turned(c_.k, b, kv, k0, keys, c_.d, to + k_rows + v_rows);
    };
    const auto work = [&](int64_t unit, const float* packed, int64_t item) {
      const int64_t b = unit / c_.kv_heads, h = unit % c_.kv_heads * x_.group + item / query_blocks;
      const int64_t q0 = (query_blocks - 1 - item % query_blocks) * nr,
                    rows = std::min<int64_t>(nr, c_.lq - q0);
      Workspace space(nr * (2 * c_.d + c_.dv + 3 * kKeyBlock + 4) * 4);
      float* q = space.as<float>();
      float* dout = q + nr * c_.d;
      float* dq = dout + nr * c_.dv;
      float* s = dq + nr * c_.d;
      float* dp = s + nr * kKeyBlock;
      float* scratch = dp + nr * kKeyBlock;
      float* m = scratch + nr * kKeyBlock;
      float* inverse = m + nr;
      float* delta = inverse + nr;
      float* scale = delta + nr;
      std::memset(m, 0, static_cast<size_t>(3 * nr * 4));
      std::fill(scale, scale + nr, c_.scale);
      row_stats(b, h, q0, rows, m, inverse, delta);
      x_.pack_lanes(c_.q, b, h, q0, rows, c_.d, q);
      x_.t.scale(q, nr * c_.d, x_.factor);
      x_.pack_lanes(d_.dout, b, h, q0, rows, c_.dv, dout);
      std::memset(dq, 0, static_cast<size_t>(nr * c_.d * 4));
      const int64_t end = x_.keys_end(q0, rows);
      for (int64_t k0 = 0; k0 < end; k0 += kKeyBlock) {
        const int64_t keys = std::min(kKeyBlock, end - k0), packed_keys = std::min(kKeyBlock, c_.lk - k0);
        const float* panels = packed + k0 / kKeyBlock * block_size;
        x_.multiply(keys, c_.d, panels, q, s, false);
        x_.mask_lanes(s, b, h, q0, rows, k0, keys, scratch);
        x_.multiply(keys, c_.dv, panels + k_rows, dout, dp, false);
        x_.t.grad_lanes(s, dp, keys, m, inverse, delta);
        x_.f.tile(c_.d, nr, keys, panels + k_rows + v_rows, packed_keys * x_.f.mr * 4, dp, 0, nr, dq, nr,
                  true);
      }
      x_.t.store_transposed[x_.elem](dq, c_.d, static_cast<int>(rows), scale,
                                     const_cast<char*>(x_.at(d_.dq, b, h, q0)), d_.dq.row);
    };
    in_groups(key_blocks * block_size, key_blocks, x_.group * query_blocks, pack, work);
  }

  void keys_pass() {
    const int64_t nr = x_.f.nr, block = kKeyBlock, query_blocks = blocks_of(c_.lq, block),
                  key_blocks = blocks_of(c_.lk, nr);
    const int64_t q_rows = x_.rows_size(block, c_.d), o_rows = x_.rows_size(block, c_.dv);
    const int64_t q_turned = x_.turned_size(block, c_.d), o_turned = x_.turned_size(block, c_.dv);
    const int64_t block_size = q_rows + o_rows + q_turned + o_turned;
    const auto pack = [&](int64_t unit, float* to, int64_t item) {
      const int64_t b = unit / c_.kv_heads, h = unit % c_.kv_heads * x_.group + item / query_blocks;
      const int64_t q0 = item % query_blocks * block, rows = std::min(block, c_.lq - q0);
      to += item * block_size;
      x_.pack_rows(c_.q, b, h, q0, rows, c_.d, to);
      x_.pack_rows(d_.dout, b, h, q0, rows, c_.dv, to + q_rows);
      x_.pack_turned(c_.q, b, h, q0, rows, c_.d, to + q_rows + o_rows);
      x_.pack_turned(d_.dout, b, h, q0, rows, c_.dv, to + q_rows + o_rows + q_turned);
    };
    const auto work = [&](int64_t unit, const float* packed, int64_t key_block) {
      const int64_t b = unit / c_.kv_heads, kv = unit % c_.kv_heads;
      const int64_t k0 = key_block * nr, keys = std::min<int64_t>(nr, c_.lk - k0);
      const KeyScratch t(nr, c_);
      x_.pack_lanes(c_.k, b, kv, k0, keys, c_.d, t.k);
      x_.t.scale(t.k, nr * c_.d, x_.factor);
      x_.pack_lanes(c_.v, b, kv, k0, keys, c_.dv, t.v);
      std::memset(t.dk, 0, static_cast<size_t>(nr * (c_.d + c_.dv) * 4));
      const int64_t first = x_.queries_begin(k0) / block;
      for (int64_t g = 0; g < x_.group; ++g)
        for (int64_t i = first; i < query_blocks; ++i) {
          const int64_t h = kv * x_.group + g, q0 = i * block, rows = std::min(block, c_.lq - q0);
          const float* panels = packed + (g * query_blocks + i) * block_size;
          row_stats(b, h, q0, rows, t.m, t.inverse, t.delta);
          x_.multiply(rows, c_.d, panels, t.k, t.s, false);
          x_.mask_rows(t.s, b, h, q0, rows, k0, keys, t.scratch);
          x_.multiply(rows, c_.dv, panels + q_rows, t.v, t.dp, false);
          x_.t.grad_rows(t.s, t.dp, rows, t.m, t.inverse, t.delta);
          const int64_t panel = rows * x_.f.mr * 4;
          x_.f.tile(c_.d, nr, rows, panels + q_rows + o_rows, panel, t.dp, 0, nr, t.dk, nr, true);
          x_.f.tile(c_.dv, nr, rows, panels + q_rows + o_rows + q_turned, panel, t.s, 0, nr, t.dv, nr, true);
        }
      put(d_.dk, b, kv, k0, keys, t.dk, c_.d, t.scale);
      put(d_.dv, b, kv, k0, keys, t.dv, c_.dv, t.one);
    };
    in_groups(x_.group * query_blocks * block_size, x_.group * query_blocks, key_blocks, pack, work);
  }

  // --- all of a key head at once ---

  int64_t padded(int64_t width) const { return blocks_of(width, direct_.lanes) * direct_.lanes; }
  int64_t whole_floats() const {
    const int64_t d = padded(c_.d), dv = padded(c_.dv), rows = x_.group * c_.lq;
    return rows * (2 * d + dv) + c_.lk * d;
  }

  // Rows of an operand as float32, `ld` apart. Sums run over rows in memory: columns behind the last are
  // zeros.
  float* copy_rows(const AttentionOperand& x, int64_t b, int64_t h, int64_t rows, int64_t width, int64_t ld,
                   float* to) const {
    for (int64_t r = 0; r < rows; ++r, to += ld) {
      g_.axpy[x_.elem].copy_x(x_.at(x, b, h, r), x.col, width, to);
      std::fill(to + width, to + ld, 0.0f);
    }
    return to;
  }

  // c[rows][cols] (+)= the sum over steps of A(i, s) b[s][j]: by_rows has A(i, s) = a[i * lda + s], else it
  // is a[s * lda + i].
  void multiply(bool by_rows, int64_t rows, int64_t cols, int64_t steps, const float* a, int64_t lda,
                const float* b, int64_t ldb, float* c, int64_t ldc, bool add) const {
    const int64_t width = 2 * direct_.lanes;
    const DirectRun run{0, 0, steps};
    DirectTile tile{};
    tile.runs = &run, tile.count = 1;
    tile.a_stride = lda, tile.b_step = ldb, tile.ldc = ldc, tile.accumulate = add;
    for (int64_t j = 0; j < cols; j += width) {
      tile.cols = static_cast<int>(std::min(width, cols - j));
      tile.b = b + j;
      const int64_t at_most = direct_.rows[tile.cols <= direct_.lanes ? 1 : 2];
      const int64_t parts = blocks_of(rows, at_most), part = blocks_of(rows, parts);
      for (int64_t i = 0; i < rows; i += part) {
        tile.a = a + (by_rows ? i * lda : i);
        tile.c = c + i * ldc + j;
        tile.rows = static_cast<int>(std::min(part, rows - i));
        (by_rows ? direct_.patches : direct_.turned)(tile);
      }
    }
  }

  void whole(int64_t b, int64_t kv) const {
    const int64_t nr = x_.f.nr, block = kKeyBlock, d = c_.d, dv = c_.dv, ld = padded(d), ldv = padded(dv);
    Workspace space(whole_floats() * 4);
    const KeyScratch t(nr, c_);
    float* queries = space.as<float>();
    float* douts = queries + x_.group * c_.lq * ld;
    float* dqs = douts + x_.group * c_.lq * ldv;
    float* keys_by_row = dqs + x_.group * c_.lq * ld;
    for (int64_t g = 0; g < x_.group; ++g) {
      copy_rows(c_.q, b, kv * x_.group + g, c_.lq, d, ld, queries + g * c_.lq * ld);
      copy_rows(d_.dout, b, kv * x_.group + g, c_.lq, dv, ldv, douts + g * c_.lq * ldv);
    }
    copy_rows(c_.k, b, kv, c_.lk, d, ld, keys_by_row);
    std::memset(dqs, 0, static_cast<size_t>(x_.group * c_.lq * ld * 4));
    for (int64_t k0 = 0; k0 < c_.lk; k0 += nr) {
      const int64_t keys = std::min<int64_t>(nr, c_.lk - k0), first = x_.queries_begin(k0);
      x_.pack_lanes(c_.k, b, kv, k0, keys, d, t.k);
      x_.t.scale(t.k, nr * d, x_.factor);
      x_.pack_lanes(c_.v, b, kv, k0, keys, dv, t.v);
      std::memset(t.dk, 0, static_cast<size_t>(nr * (d + dv) * 4));
      for (int64_t g = 0; g < x_.group; ++g)
        for (int64_t q0 = first; q0 < c_.lq; q0 += block) {
          const int64_t h = kv * x_.group + g, rows = std::min(block, c_.lq - q0), row = g * c_.lq + q0;
          const float *q = queries + row * ld, *dout = douts + row * ldv;
          row_stats(b, h, q0, rows, t.m, t.inverse, t.delta);
          multiply(true, rows, nr, d, q, ld, t.k, nr, t.s, nr, false);
          x_.mask_rows(t.s, b, h, q0, rows, k0, keys, t.scratch);
          multiply(true, rows, nr, dv, dout, ldv, t.v, nr, t.dp, nr, false);
          x_.t.grad_rows(t.s, t.dp, rows, t.m, t.inverse, t.delta);
          multiply(false, d, nr, rows, q, ld, t.dp, nr, t.dk, nr, true);
          multiply(false, dv, nr, rows, dout, ldv, t.s, nr, t.dv, nr, true);
          multiply(true, rows, d, keys, t.dp, nr, keys_by_row + k0 * ld, ld, dqs + row * ld, ld, true);
        }
      put(d_.dk, b, kv, k0, keys, t.dk, d, t.scale);
      put(d_.dv, b, kv, k0, keys, t.dv, dv, t.one);
    }
    for (int64_t g = 0; g < x_.group; ++g)
      g_.finish[x_.elem](c_.lq, d, dqs + g * c_.lq * ld, ld,
                         const_cast<char*>(x_.at(d_.dq, b, kv * x_.group + g, 0)), d_.dq.row,
                         static_cast<double>(c_.scale), 0, nullptr, 0, 0);
  }

  // Sums of keys, one per lane, to rows of a gradient.
  void put(const AttentionOperand& to, int64_t b, int64_t kv, int64_t k0, int64_t keys, const float* from,
           int64_t width, const float* by) const {
    if (to.data)
      x_.t.store_transposed[x_.elem](from, width, static_cast<int>(keys), by,
                                     const_cast<char*>(x_.at(to, b, kv, k0)), to.row);
  }

  const GemmTable& g_;
  const DirectTable& direct_;
  const AttentionTiles x_;
  const AttentionCall& c_;
  const AttentionGradients& d_;
  Workspace delta_space_;
  float* delta_;
};

}  // namespace

void attention_backward_for(Isa isa, const AttentionCall& call, const AttentionGradients& gradients) {
  Backward backward(gemm_kernels_for(isa), attention_kernels_for(isa), direct_kernels_for(isa), call,
                    gradients);
  backward();
}
void attention_backward(const AttentionCall& call, const AttentionGradients& gradients) {
  Backward backward(gemm_kernels(), attention_kernels(), direct_kernels(), call, gradients);
  backward();
}

}  // namespace mlx::core::cpu

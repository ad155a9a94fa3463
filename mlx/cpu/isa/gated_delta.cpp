// One pass over the steps with a block of the state's rows in the first-level cache. A step reads a row once
// for both of its products, with k and with q, since y = S q = g S_before q + d (k . q).
#include "mlx/cpu/isa/gated_delta.h"

#include "mlx/cpu/isa/reduce_impl.h"

namespace mlx::core::cpu::MLX_ISA {
namespace {

using namespace rows;

// Rows are padded with zeros to whole vectors.
template <class C>
constexpr int64_t padded(int64_t n) {
  return (n + kLanes<C> - 1) / kLanes<C> * kLanes<C>;
}

inline float total(F v) {
#if MLX_ISA_LEVEL >= 4
  return _mm512_reduce_add_ps((__m512)v);
#else
  return sum_across(v);
#endif
}
inline double total(D v) { return sum_across(v); }

template <class T>
struct GatedDelta {
  using C = Compute<T>;
  using V = Vec<C>;
  static constexpr int kN = kLanes<C>;

  // What a step is made of, in C and padded.
  struct Step {
    int64_t n;  // padded dk
    C *k, *q, *gate, *gated_k, *gated_q;
    C kq;

    Step(int64_t dk, C* at)
        : n(padded<C>(dk)),
          k(at),
          q(at + n),
          gate(at + 2 * n),
          gated_k(at + 3 * n),
          gated_q(at + 4 * n),
          kq(0) {
      __builtin_memset(at, 0, (5 * n) * sizeof(C));
    }
    void read(const GatedDeltaHead& h, int64_t t) {
      const T* from_k = static_cast<const T*>(h.k) + t * h.key_stride;
      const T* from_q = static_cast<const T*>(h.q) + t * h.key_stride;
      const C* from_gate = static_cast<const C*>(h.gate) + t * h.gate_stride;
      for (int64_t i = 0; i < h.dk; ++i) {
        k[i] = get(from_k[i]);
        q[i] = get(from_q[i]);
        gate[i] = h.gate_per_key ? from_gate[i] : from_gate[0];
      }
      V sum{};
      for (int64_t i = 0; i < n; i += kN) {
        const V ki = load(k + i), qi = load(q + i), g = load(gate + i);
        store(gated_k + i, g * ki);
        store(gated_q + i, g * qi);
        sum = fma(ki, qi, sum);
      }
      kq = total(sum);
    }
  };
  static bool counts(const GatedDeltaHead& h, int64_t t) { return !h.mask || h.mask[t]; }

  static void read_rows(const GatedDeltaHead& h, int64_t begin, int64_t end, int64_t n, C* rows) {
    const C* from = static_cast<const C*>(h.state);
    for (int64_t r = begin; r < end; ++r, rows += n) {
      __builtin_memcpy(rows, from + r * h.dk, h.dk * sizeof(C));
      for (int64_t i = h.dk; i < n; ++i) rows[i] = 0;
    }
  }
  static void write_rows(const C* rows, int64_t dk, int64_t begin, int64_t end, int64_t n, void* out) {
    for (int64_t r = begin; r < end; ++r, rows += n)
      __builtin_memcpy(static_cast<C*>(out) + r * dk, rows, dk * sizeof(C));
  }

  // row . k and row . q, of the decayed row.
  static void products(const C* row, const Step& s, C& with_k, C& with_q) {
    V a{}, b{}, c{}, d{};
    int64_t i = 0;
    for (; i + 2 * kN <= s.n; i += 2 * kN) {
      const V x = load(row + i), y = load(row + i + kN);
      a = fma(x, load(s.gated_k + i), a);
      b = fma(x, load(s.gated_q + i), b);
      c = fma(y, load(s.gated_k + i + kN), c);
      d = fma(y, load(s.gated_q + i + kN), d);
    }
    if (i < s.n) {
      const V x = load(row + i);
      a = fma(x, load(s.gated_k + i), a);
      b = fma(x, load(s.gated_q + i), b);
    }
    with_k = total(a + c);
    with_q = total(b + d);
  }
  static void update(const C* row, const Step& s, C delta, C* out) {
    const V d = splat<V>(delta);
    for (int64_t i = 0; i < s.n; i += kN)
      store(out + i, fma(d, load(s.k + i), load(row + i) * load(s.gate + i)));
  }

  static int64_t forward_bytes(int64_t dk, int64_t rows) {
    return (rows + 5) * padded<C>(dk) * static_cast<int64_t>(sizeof(C));
  }
  static void forward(const GatedDeltaHead& h, int64_t begin, int64_t end, void* y_, void* state_out,
                      void* workspace) {
    C* rows = static_cast<C*>(workspace);
    Step step(h.dk, rows + (end - begin) * padded<C>(h.dk));
    read_rows(h, begin, end, step.n, rows);
    for (int64_t t = 0; t < h.steps; ++t) {
      T* y = static_cast<T*>(y_) + t * h.value_stride;
      const T* v = static_cast<const T*>(h.v) + t * h.value_stride;
      if (!counts(h, t)) {
        for (int64_t r = begin; r < end; ++r) put(y + r, C{0});
        continue;
      }
      step.read(h, t);
      const C beta = static_cast<const C*>(h.beta)[t * h.beta_stride];
      C* row = rows;
      for (int64_t r = begin; r < end; ++r, row += step.n) {
        C with_k, with_q;
        products(row, step, with_k, with_q);
        const C delta = (get(v[r]) - with_k) * beta;
        put(y + r, with_q + delta * step.kq);
        update(row, step, delta, row);
      }
    }
    write_rows(rows, h.dk, begin, end, step.n, state_out);
  }

  // --- backward. States are needed in reverse: every `stride`-th is kept, those between are computed again
  // ---

  static int64_t stride_of(int64_t steps) {
    int64_t c = 1;
    while (c * c < steps) ++c;
    return c;
  }
  static int64_t backward_bytes(int64_t steps, int64_t dk, int64_t dv) {
    const int64_t c = stride_of(steps), kept = (steps + c - 1) / c;
    return ((kept + c + 2) * dv + 5 + 3) * padded<C>(dk) * static_cast<int64_t>(sizeof(C));
  }
  static void advance(const GatedDeltaHead& h, int64_t t, Step& step, const C* from, C* to) {
    if (!counts(h, t)) {
      if (from != to) __builtin_memcpy(to, from, (h.dv * step.n) * sizeof(C));
      return;
    }
    step.read(h, t);
    const T* v = static_cast<const T*>(h.v) + t * h.value_stride;
    const C beta = static_cast<const C*>(h.beta)[t * h.beta_stride];
    for (int64_t r = 0; r < h.dv; ++r) {
      C with_k, with_q;
      products(from + r * step.n, step, with_k, with_q);
      update(from + r * step.n, step, (get(v[r]) - with_k) * beta, to + r * step.n);
    }
  }

  struct Sums {  // over the rows of a step
    C *q, *k, *gate;
    int64_t n;
    Sums(C* at, int64_t n) : q(at), k(at + n), gate(at + 2 * n), n(n) {}
    void clear() { __builtin_memset(q, 0, (3 * n) * sizeof(C)); }
  };

  // ds: the gradient by the state behind the step, of one row; becomes that by the state before it. Returns d
  // delta.
  static C row_backward(const C* before, const Step& s, C delta, C beta, C dy, C* ds, Sums& sums) {
    V along{};
    for (int64_t i = 0; i < s.n; i += kN) {
      const V k = load(s.k + i), after = fma(splat<V>(delta), k, load(before + i) * load(s.gate + i));
      store(sums.q + i, fma(splat<V>(dy), after, load(sums.q + i)));
      const V d = fma(splat<V>(dy), load(s.q + i), load(ds + i));
      store(ds + i, d);
      along = fma(d, k, along);
    }
    const C ddelta = total(along);
    const V back = splat<V>(-beta * ddelta), forth = splat<V>(delta);
    for (int64_t i = 0; i < s.n; i += kN) {
      const V g = load(s.gate + i), b = load(before + i), d = load(ds + i);
      store(sums.k + i, fma(forth, d, fma(back, b * g, load(sums.k + i))));
      const V decayed = fma(back, load(s.k + i), d);
      store(sums.gate + i, fma(decayed, b, load(sums.gate + i)));
      store(ds + i, decayed * g);
    }
    return ddelta;
  }

  static void backward(const GatedDeltaHead& h, const void* dy_, const void* dstate_out, int64_t key_step,
                       void* dq_, void* dk_, void* dv_, void* dgate_, void* dbeta_, void* dstate,
                       void* workspace) {
    const int64_t n = padded<C>(h.dk), size = h.dv * n, c = stride_of(h.steps), kept = (h.steps + c - 1) / c;
    C* checkpoints = static_cast<C*>(workspace);
    C* states = checkpoints + kept * size;  // c + 1 of them
    C* ds = states + (c + 1) * size;
    Step step(h.dk, ds + size);
    Sums sums(ds + size + 5 * n, n);
    read_rows(h, 0, h.dv, n, states);
    for (int64_t t = 0; t < h.steps; ++t) {
      if (t % c == 0) __builtin_memcpy(checkpoints + t / c * size, states, size * sizeof(C));
      if (t < (kept - 1) * c) advance(h, t, step, states, states);
    }
    GatedDeltaHead last = h;
    last.state = dstate_out;
    read_rows(last, 0, h.dv, n, ds);

    for (int64_t chunk = kept - 1; chunk >= 0; --chunk) {
      const int64_t first = chunk * c, end = first + c < h.steps ? first + c : h.steps;
      __builtin_memcpy(states, checkpoints + chunk * size, size * sizeof(C));
      for (int64_t t = first; t + 1 < end; ++t)
        advance(h, t, step, states + (t - first) * size, states + (t - first + 1) * size);
      for (int64_t t = end - 1; t >= first; --t) {
        C* dq = static_cast<C*>(dq_) + t * key_step;
        C* dk = static_cast<C*>(dk_) + t * key_step;
        C* dv = static_cast<C*>(dv_) + t * h.value_stride;
        C* dgate = static_cast<C*>(dgate_) + t * h.gate_stride;
        C* dbeta = static_cast<C*>(dbeta_) + t * h.beta_stride;
        sums.clear();
        C beta_sum = 0;
        if (counts(h, t)) {
          step.read(h, t);
          const T* v = static_cast<const T*>(h.v) + t * h.value_stride;
          const C* dy = static_cast<const C*>(dy_) + t * h.value_stride;
          const C beta = static_cast<const C*>(h.beta)[t * h.beta_stride];
          const C* before = states + (t - first) * size;
          for (int64_t r = 0; r < h.dv; ++r, before += n) {
            C with_k, with_q;
            products(before, step, with_k, with_q);
            const C rest = get(v[r]) - with_k;
            const C ddelta = row_backward(before, step, rest * beta, beta, dy[r], ds + r * n, sums);
            dv[r] = beta * ddelta;
            beta_sum += rest * ddelta;
          }
        } else {
          for (int64_t r = 0; r < h.dv; ++r) dv[r] = 0;
        }
        *dbeta = beta_sum;
        C gate_sum = 0;
        for (int64_t i = 0; i < h.dk; ++i) {
          dq[i] = sums.q[i];
          dk[i] = sums.k[i];
          if (h.gate_per_key)
            dgate[i] = sums.gate[i];
          else
            gate_sum += sums.gate[i];
        }
        if (!h.gate_per_key) *dgate = gate_sum;
      }
    }
    write_rows(ds, h.dk, 0, h.dv, n, dstate);
  }
};

}  // namespace

const GatedDeltaTable& gated_delta_kernels_table() {
  static const GatedDeltaTable table = [] {
    GatedDeltaTable t;
    for_elements([&](auto v) {
      using T = Element<v>;
      if constexpr (is_real<T>)
        t.at[v] = {GatedDelta<T>::forward, GatedDelta<T>::backward, GatedDelta<T>::forward_bytes,
                   GatedDelta<T>::backward_bytes};
    });
    return t;
  }();
  return table;
}

}  // namespace mlx::core::cpu::MLX_ISA

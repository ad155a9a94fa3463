// The gated delta rule over the steps of a sequence, head by head, and its gradient; T, the type of q, k, v and y, is
// defined in front of this text. The state S (dv, dk) is in floats; with the decay g, S' = S diag(g):
//   d = beta (v - S' k),   S <- S' + d k^T,   y = S q = S' q + d (k . q)
//
// A SIMD-group keeps four rows of the state in registers over all steps, each lane every 32nd of their elements.
// Bytes moved: the state is read once and written once, v and y once; k, q and gates once per four rows, from the cache
// but for the first. 9 operations per element of the state and step, none of which waits for memory.
#include "metal/kernels/types.h"

constant bool gate_per_key [[function_constant(0)]];
constant bool masked [[function_constant(1)]];
constant int chunks [[function_constant(2)]];  // of 32 elements, of a row
constant constexpr int rows = 4, most_chunks = 8;

struct Delta {
  uint steps, key_heads, heads, dk, dv;
};

// What a lane has of the vectors of a step.
struct Step {
  float key[most_chunks], query[most_chunks], decay[most_chunks];
};
METAL_FUNC Step step_at(device const T* q, device const T* k, device const float* gate, ulong key_at, ulong here, uint dk,
                        uint lane, bool with_query = true) {
  Step step;
  const float shared = gate_per_key ? 0.0f : simd_shuffle(lane == 0 ? gate[here] : 0.0f, 0);
  for (int j = 0; j < chunks; ++j) {
    const uint i = 32 * j + lane;
    const bool inside = i < dk;
    step.key[j] = inside ? static_cast<float>(k[key_at + i]) : 0.0f;
    step.query[j] = inside && with_query ? static_cast<float>(q[key_at + i]) : 0.0f;
    step.decay[j] = gate_per_key ? (inside ? gate[here * dk + i] : 0.0f) : shared;
  }
  return step;
}
METAL_FUNC void read_row(thread float* row, device const float* from, uint dk, bool exists, uint lane) {
  for (int j = 0; j < chunks; ++j) {
    const uint i = 32 * j + lane;
    row[j] = exists && i < dk ? from[i] : 0.0f;
  }
}
METAL_FUNC void write_row(thread const float* row, device float* to, uint dk, uint lane) {
  for (int j = 0; j < chunks; ++j) {
    const uint i = 32 * j + lane;
    if (i < dk) to[i] = row[j];
  }
}

kernel void gated_delta(device const T* q [[buffer(0)]], device const T* k [[buffer(1)]], device const T* v [[buffer(2)]],
                        device const float* gate [[buffer(3)]], device const float* beta [[buffer(4)]],
                        device const float* state [[buffer(5)]],
                        device const bool* mask [[buffer(6), function_constant(masked)]], device T* y [[buffer(7)]],
                        device float* state_out [[buffer(8)]], constant Delta& p [[buffer(9)]],
                        uint2 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
                        uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  const uint first = (group.x * simds + simd) * rows, batch = group.y / p.heads, head = group.y % p.heads;
  if (first >= p.dv) return;
  const uint key_head = head / (p.heads / p.key_heads);
  const ulong state_at = static_cast<ulong>(group.y) * p.dv * p.dk;
  float s[rows][most_chunks];
  for (int r = 0; r < rows; ++r) read_row(s[r], state + state_at + (first + r) * p.dk, p.dk, first + r < p.dv, lane);
  for (uint t = 0; t < p.steps; ++t) {
    const ulong at = static_cast<ulong>(batch) * p.steps + t, here = at * p.heads + head;
    if (masked && !mask[at]) {
      if (lane < rows && first + lane < p.dv) y[here * p.dv + first + lane] = static_cast<T>(0.0f);
      continue;
    }
    const Step step = step_at(q, k, gate, (at * p.key_heads + key_head) * p.dk, here, p.dk, lane);
    float both = 0;
    for (int j = 0; j < chunks; ++j) both += step.key[j] * step.query[j];
    both = simd_sum(both);
    // Lane r has the value of row r, for all of them.
    const bool owns = lane < rows && first + lane < p.dv;
    const float values = owns ? static_cast<float>(v[here * p.dv + first + lane]) : 0.0f;
    const float weight = simd_shuffle(lane == 0 ? beta[here] : 0.0f, 0);
    for (int r = 0; r < rows; ++r) {
      const uint row = first + r;
      float with_key = 0, with_query = 0;
      for (int j = 0; j < chunks; ++j) {
        s[r][j] *= step.decay[j];
        with_key = fma(s[r][j], step.key[j], with_key);
        with_query = fma(s[r][j], step.query[j], with_query);
      }
      with_key = simd_sum(with_key), with_query = simd_sum(with_query);
      if (row >= p.dv) break;
      const float d = (simd_shuffle(values, r) - with_key) * weight;
      for (int j = 0; j < chunks; ++j) s[r][j] = fma(d, step.key[j], s[r][j]);
      if (lane == 0) y[here * p.dv + row] = static_cast<T>(fma(d, both, with_query));
    }
  }
  for (int r = 0; r < rows; ++r)
    if (first + r < p.dv) write_row(s[r], state_out + state_at + (first + r) * p.dk, p.dk, lane);
}

// The gradient goes back from the last step, and each step needs the state before it. Of the steps, cut into chunks of
// about their square root, the state before each chunk is kept; inside of a chunk states are computed again and kept
// until they are used, by the lanes that made them.
//
// Bytes moved, besides vectors: the state behind every step but the last is written once, and that before every step
// read once (once more at the begin of each chunk and of all); gradients of the state are read once and written once.
// About 30 operations per element of the state and step, for 8 bytes: memory decides. What a step's rows add to the
// gradients of q, k and gates is summed by the threadgroup, and by another kernel where several share a head: 2 * 12
// bytes per threadgroup and element of a key.
struct Gradient {
  Delta sizes;
  uint chunk, kept;  // steps per chunk, chunks
  ulong cells;       // of a gradient of q: (batch, steps, heads)
};

// One step forward, as above, for rows whose state nobody else needs.
METAL_FUNC void advance(thread float (&s)[rows][most_chunks], thread const Step& step, float values, float weight) {
  for (int r = 0; r < rows; ++r) {
    float with_key = 0;
    for (int j = 0; j < chunks; ++j) {
      s[r][j] *= step.decay[j];
      with_key = fma(s[r][j], step.key[j], with_key);
    }
    const float d = (simd_shuffle(values, r) - simd_sum(with_key)) * weight;
    for (int j = 0; j < chunks; ++j) s[r][j] = fma(d, step.key[j], s[r][j]);
  }
}

[[kernel, max_total_threads_per_threadgroup(256)]] void gated_delta_gradient(
    device const T* q [[buffer(0)]], device const T* k [[buffer(1)]], device const T* v [[buffer(2)]],
    device const float* gate [[buffer(3)]], device const float* beta [[buffer(4)]],
    device const float* state [[buffer(5)]], device const bool* mask [[buffer(6), function_constant(masked)]],
    device const float* dy [[buffer(7)]], device const float* dstate_out [[buffer(8)]],
    device float* saved [[buffer(9)]], device float* dq [[buffer(10)]], device float* dk [[buffer(11)]],
    device float* dv [[buffer(12)]], device float* dgate [[buffer(13)]], device float* dbeta [[buffer(14)]],
    device float* dstate [[buffer(15)]], constant Gradient& p [[buffer(16)]],
    threadgroup float* part [[threadgroup(0)]], uint2 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]], uint index [[thread_index_in_threadgroup]],
    uint2 groups [[threadgroups_per_grid]]) {
  const uint n = p.sizes.dk, height = p.sizes.dv, steps = p.sizes.steps, heads = p.sizes.heads;
  const uint first = (group.x * simds + simd) * rows, batch = group.y / heads, head = group.y % heads;
  const uint key_head = head / (heads / p.sizes.key_heads);
  const ulong state_at = (static_cast<ulong>(group.y) * height + first) * n;
  // Of these rows: the states before chunks 1, 2, ..., then those before the steps 1, 2, ... of a chunk.
  const ulong block = (static_cast<ulong>(group.y) * groups.x + group.x) * simds + simd, size = rows * n;
  device float* kept = saved + block * (p.kept + p.chunk - 2) * size;
  device float* inner = kept + (p.kept - 1) * size;
  const bool idle = first >= height, owns = lane < rows && first + lane < height;
  // What a step's rows add up to: gradients of q, k and gates, then of beta, for each SIMD-group.
  const uint width = 3 * n + 1;

  float s[rows][most_chunks], ds[rows][most_chunks];
  for (int r = 0; r < rows; ++r) {
    const bool exists = first + r < height;
    read_row(s[r], state + state_at + r * n, n, exists, lane);
    read_row(ds[r], dstate_out + state_at + r * n, n, exists, lane);
  }
  // To the begin of the last chunk, then chunk by chunk from the last one: up through its steps, and down.
  for (uint chunk = p.kept; chunk-- > 0;) {
    const bool whole = chunk + 1 == p.kept;
    const uint begin = chunk * p.chunk, end = min(begin + p.chunk, steps);
    device const float* before = chunk == 0 ? state + state_at : kept + (chunk - 1) * size;
    if (!whole && end - begin > 1)
      for (int r = 0; r < rows; ++r) read_row(s[r], before + r * n, n, first + r < height, lane);
    for (uint t = whole ? 0 : begin; t + 1 < end; ++t) {
      const ulong at = static_cast<ulong>(batch) * steps + t, here = at * heads + head;
      if (!idle && (!masked || mask[at])) {
        const Step step = step_at(q, k, gate, (at * p.sizes.key_heads + key_head) * n, here, n, lane, false);
        const float values = owns ? static_cast<float>(v[here * height + first + lane]) : 0.0f;
        advance(s, step, values, simd_shuffle(lane == 0 ? beta[here] : 0.0f, 0));
      }
      const uint next = t + 1;
      const bool inside = next > begin;
      if (!inside && next % p.chunk != 0) continue;
      device float* to = inside ? inner + (next - begin - 1) * size : kept + (next / p.chunk - 1) * size;
      for (int r = 0; r < rows; ++r)
        if (first + r < height) write_row(s[r], to + r * n, n, lane);
    }
    for (uint t = end; t-- > begin;) {
      const ulong at = static_cast<ulong>(batch) * steps + t, here = at * heads + head;
      float to_query[most_chunks], to_key[most_chunks], to_decay[most_chunks], to_beta = 0;
      for (int j = 0; j < chunks; ++j) to_query[j] = to_key[j] = to_decay[j] = 0;
      float to_values = 0;
      if (!idle && (!masked || mask[at])) {
        const Step step = step_at(q, k, gate, (at * p.sizes.key_heads + key_head) * n, here, n, lane);
        const float values = owns ? static_cast<float>(v[here * height + first + lane]) : 0.0f;
        const float along = owns ? dy[here * height + first + lane] : 0.0f;
        const float weight = simd_shuffle(lane == 0 ? beta[here] : 0.0f, 0);
        device const float* from = t == begin ? before : inner + (t - begin - 1) * size;
        for (int r = 0; r < rows; ++r) {
          float old[most_chunks], with_key = 0, change = 0;
          read_row(old, from + r * n, n, first + r < height, lane);
          for (int j = 0; j < chunks; ++j) with_key = fma(old[j] * step.decay[j], step.key[j], with_key);
          const float rest = simd_shuffle(values, r) - simd_sum(with_key), d = rest * weight;
          const float g = simd_shuffle(along, r);
          for (int j = 0; j < chunks; ++j) {
            const float after = fma(d, step.key[j], old[j] * step.decay[j]);
            to_query[j] = fma(g, after, to_query[j]);
            ds[r][j] = fma(g, step.query[j], ds[r][j]);
            change = fma(ds[r][j], step.key[j], change);
          }
          change = simd_sum(change);  // the gradient by d
          const float back = -weight * change;
          for (int j = 0; j < chunks; ++j) {
            to_key[j] = fma(d, ds[r][j], fma(back, old[j] * step.decay[j], to_key[j]));
            const float decayed = fma(back, step.key[j], ds[r][j]);
            to_decay[j] = fma(decayed, old[j], to_decay[j]);
            ds[r][j] = decayed * step.decay[j];
          }
          to_beta = fma(rest, change, to_beta);
          if (lane == static_cast<uint>(r)) to_values = weight * change;
        }
      }
      if (owns) dv[here * height + first + lane] = to_values;

      threadgroup float* mine = part + simd * width;
      for (int j = 0; j < chunks; ++j) {
        const uint i = 32 * j + lane;
        if (i < n) mine[i] = to_query[j], mine[n + i] = to_key[j], mine[2 * n + i] = to_decay[j];
      }
      if (lane == 0) mine[3 * n] = to_beta;
      threadgroup_barrier(mem_flags::mem_threadgroup);
      const ulong cell = group.x * p.cells + here;
      for (uint i = index; i < width; i += 32 * simds) {
        float sum = 0;
        for (uint other = 0; other < simds; ++other) sum += part[other * width + i];
        if (i < n) {
          dq[cell * n + i] = sum;
        } else if (i < 2 * n) {
          dk[cell * n + i - n] = sum;
        } else if (i == 3 * n) {
          dbeta[cell] = sum;
        } else if (gate_per_key) {
          dgate[cell * n + i - 2 * n] = sum;
        } else {
          part[i] = sum;  // nobody else's place
        }
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
      // The next step's sums of a SIMD-group lie where each lane has just read.
      if (!gate_per_key && simd == 0) {
        float of_gate = 0;
        for (uint i = lane; i < n; i += 32) of_gate += part[2 * n + i];
        of_gate = simd_sum(of_gate);
        if (lane == 0) dgate[cell] = of_gate;
      }
    }
  }
  for (int r = 0; r < rows; ++r)
    if (first + r < height) write_row(ds[r], dstate + state_at + r * n, n, lane);
}

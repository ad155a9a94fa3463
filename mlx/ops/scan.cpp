// cumsum, cumprod, cummax, cummin, logcumsumexp; diff.
#include "mlx/ops/scan.h"

#include <limits>

#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"

namespace mlx::core {
namespace {

array recurrence(const array& a, const array& b, int axis, bool reverse, StreamOrDevice s) {
  return make<LinearRecurrence>(a.shape(), a.dtype(), s, {a, b}, axis, reverse);
}

// Element i becomes element i - 1 (i + 1 where backward), with `fill` at the end that comes free.
array shift(const array& a, int axis, bool backward, double fill, StreamOrDevice s) {
  fix_sizes("scan", a);
  if (a.size() == 0) return a;
  Shape start(a.ndim(), 0), stop = a.shape(), edge = a.shape();
  edge[axis] = 1;
  if (backward)
    start[axis] = 1;
  else
    stop[axis] -= 1;
  const array rest = slice(a, start, stop, s);
  const array value = full(edge, like(a, fill), s);
  return concatenate(backward ? Arrays{rest, value} : Arrays{value, rest}, axis, s);
}

array scan(Accumulation kind, const array& a, int axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return make<Scan>(a.shape(), a.dtype(), s, {a}, kind, axis, reverse, inclusive);
}

// The weights of an inclusive y = logcumsumexp(x): of x[i] in y[i], exp(x[i] - y[i]), and of y[i-1] in y[i],
// exp(y[i-1] - y[i]). None is above 1, so that sums along the line neither overflow nor cancel. Where y[i] is
// -inf nothing has been seen yet: weights and derivatives are 0.
struct LogWeights {
  LogWeights(const array& x, const array& y, int axis, bool reverse, StreamOrDevice s)
      : finite(where(isneginf(y, s), zeros_of(y), y, s)),
        own(exp(subtract(x, finite, s), s)),
        carried(exp(subtract(shift(y, axis, reverse, -std::numeric_limits<double>::infinity(), s), finite, s),
                    s)) {}
  array finite, own, carried;
};

// Where the running extreme that stands at each element was found: the last place up to there whose value is
// it.
array holder(const array& x, const array& y, int axis, bool reverse, StreamOrDevice s) {
  Shape line(x.ndim(), 1);
  line[axis] = x.shape(axis);
  const array places = reshape(arange(0, x.shape(axis), 1, int32, s), line, s);
  const array none = array(reverse ? x.shape(axis) - 1 : 0, int32);
  const array found = where(logical_or(equal(x, y, s), isnan(x, s), s), places, none, s);
  return reverse ? cummin(found, axis, true, true, s) : cummax(found, axis, false, true, s);
}

}  // namespace

Arrays Scan::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const array& x = primals[0];
  const StreamOrDevice s = stream();
  // An exclusive scan is an inclusive one moved by a place: so is its gradient.
  const array g =
      inclusive || kind == Accumulation::sum ? cotangents[0] : shift(cotangents[0], axis, !reverse, 0, s);
  switch (kind) {
    case Accumulation::sum:
      return {cumsum(g, axis, !reverse, inclusive, s)};
    case Accumulation::prod: {
      // dx[i] = prod(x[j], j < i) * (g[i] + x[i+1] (g[i+1] + x[i+2] (g[i+2] + ...)))
      const array c = conjugate(x, s);
      const array after = recurrence(shift(c, axis, !reverse, 0, s), g, axis, !reverse, s);
      return {multiply(cumprod(c, axis, reverse, false, s), after, s)};
    }
    case Accumulation::max:
    case Accumulation::min: {
      const array y = inclusive ? outputs[0] : scan(kind, x, axis, reverse, true, s);
      return {scatter_add_axis(zeros_of(x), holder(x, y, axis, reverse, s), g, axis, s)};
    }
    default: {  // dx[i] = own[i] (g[i] + carried[i+1] (g[i+1] + ...))
      const array y = inclusive ? outputs[0] : scan(kind, x, axis, reverse, true, s);
      const LogWeights w(x, y, axis, reverse, s);
      return {multiply(w.own, recurrence(shift(w.carried, axis, !reverse, 0, s), g, axis, !reverse, s), s)};
    }
  }
}

Arrays Scan::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const array &x = primals[0], &t = tangents[0];
  const StreamOrDevice s = stream();
  const auto placed = [&](const array& dy) { return inclusive ? dy : shift(dy, axis, reverse, 0, s); };
  switch (kind) {
    case Accumulation::sum:
      return {cumsum(t, axis, reverse, inclusive, s)};
    case Accumulation::prod:  // dy[i] = x[i] dy[i-1] + t[i] y[i-1]
      return {placed(recurrence(x, multiply(t, cumprod(x, axis, reverse, false, s), s), axis, reverse, s))};
    case Accumulation::max:
    case Accumulation::min: {
      const array y = scan(kind, x, axis, reverse, true, s);
      return {placed(take_along_axis(t, holder(x, y, axis, reverse, s), axis, s))};
    }
    default: {  // dy[i] = carried[i] dy[i-1] + own[i] t[i]
      const LogWeights w(x, scan(kind, x, axis, reverse, true, s), axis, reverse, s);
      return {placed(recurrence(w.carried, multiply(w.own, t, s), axis, reverse, s))};
    }
  }
}
Batched Scan::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return Arrays{scan(kind, in[0], axis + 1, reverse, inclusive, stream())};
  });
}
const char* Scan::name() const {
  constexpr const char* names[] = {"cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"};
  return names[static_cast<int>(kind)];
}

Arrays LinearRecurrence::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                             const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const array a = conjugate(primals[0], s);
  // db[i] = g[i] + a[i+1] db[i+1]; da[i] = db[i] h[i-1]
  const array db = recurrence(shift(a, axis, !reverse, 0, s), cotangents[0], axis, !reverse, s);
  Arrays out;
  for (int i : argnums)
    out.push_back(i == 1 ? db : multiply(db, conjugate(shift(outputs[0], axis, reverse, 0, s), s), s));
  return out;
}
Arrays LinearRecurrence::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const StreamOrDevice s = stream();
  array b = zeros_of(primals[0]);
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] == 1) {
      b = add(b, tangents[i], s);
    } else {
      const array h = recurrence(primals[0], primals[1], axis, reverse, s);
      b = add(b, multiply(tangents[i], shift(h, axis, reverse, 0, s), s), s);
    }
  }
  return {recurrence(primals[0], b, axis, reverse, s)};
}
Batched LinearRecurrence::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return Arrays{recurrence(in[0], in[1], axis + 1, reverse, stream())};
  });
}

namespace {

array scan_along(Accumulation kind, const char* name, const array& a, int axis, bool reverse, bool inclusive,
                 StreamOrDevice s) {
  return scan(kind, a, checked_axis(name, axis, a.shape()), reverse, inclusive, s);
}
array summable(const array& a, std::optional<Dtype> dtype, StreamOrDevice s) {
  return astype(a, dtype ? *dtype : a.dtype() == bool_ ? int32 : a.dtype(), s);
}
array multipliable(const array& a, std::optional<Dtype> dtype, StreamOrDevice s) {
  return dtype ? astype(a, *dtype, s) : a;
}

// log(sum exp) of complex numbers, relative to the largest real part of the whole line.
array complex_logcumsumexp(const array& a, int axis, bool reverse, bool inclusive, StreamOrDevice s) {
  array m = max(real(a, s), axis, true, s);
  m = where(isfinite(m, s), m, zeros_of(m), s);
  return add(log(cumsum(exp(subtract(a, m, s), s), axis, reverse, inclusive, s), s), m, s);
}

}  // namespace

array cumsum(const array& a, int axis, bool reverse, bool inclusive, std::optional<Dtype> dtype,
             StreamOrDevice s) {
  return scan_along(Accumulation::sum, "cumsum", summable(a, dtype, s), axis, reverse, inclusive, s);
}
array cumsum(const array& a, int axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return cumsum(a, axis, reverse, inclusive, std::nullopt, s);
}
array cumsum(const array& a, bool reverse, bool inclusive, std::optional<Dtype> dtype, StreamOrDevice s) {
  return cumsum(flatten(a, s), 0, reverse, inclusive, dtype, s);
}
array cumsum(const array& a, bool reverse, bool inclusive, StreamOrDevice s) {
  return cumsum(flatten(a, s), 0, reverse, inclusive, std::nullopt, s);
}

array cumprod(const array& a, int axis, bool reverse, bool inclusive, std::optional<Dtype> dtype,
              StreamOrDevice s) {
  return scan_along(Accumulation::prod, "cumprod", multipliable(a, dtype, s), axis, reverse, inclusive, s);
}
array cumprod(const array& a, int axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return cumprod(a, axis, reverse, inclusive, std::nullopt, s);
}
array cumprod(const array& a, bool reverse, bool inclusive, std::optional<Dtype> dtype, StreamOrDevice s) {
  return cumprod(flatten(a, s), 0, reverse, inclusive, dtype, s);
}
array cumprod(const array& a, bool reverse, bool inclusive, StreamOrDevice s) {
  return cumprod(flatten(a, s), 0, reverse, inclusive, std::nullopt, s);
}

array cummax(const array& a, int axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return scan_along(Accumulation::max, "cummax", a, axis, reverse, inclusive, s);
}
array cummax(const array& a, bool reverse, bool inclusive, StreamOrDevice s) {
  return cummax(flatten(a, s), 0, reverse, inclusive, s);
}
array cummin(const array& a, int axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return scan_along(Accumulation::min, "cummin", a, axis, reverse, inclusive, s);
}
array cummin(const array& a, bool reverse, bool inclusive, StreamOrDevice s) {
  return cummin(flatten(a, s), 0, reverse, inclusive, s);
}

array logcumsumexp(const array& a, int axis, bool reverse, bool inclusive, StreamOrDevice s) {
  const int at = checked_axis("logcumsumexp", axis, a.shape());
  const array x = astype(a, promote_to_float(a.dtype()), s);
  if (x.dtype() == complex64) return complex_logcumsumexp(x, at, reverse, inclusive, s);
  return scan(Accumulation::logaddexp, x, at, reverse, inclusive, s);
}
array logcumsumexp(const array& a, bool reverse, bool inclusive, StreamOrDevice s) {
  return logcumsumexp(flatten(a, s), 0, reverse, inclusive, s);
}

array diff(const array& a, int n, int axis, StreamOrDevice s) {
  const int at = checked_axis("diff", axis, a.shape());
  if (n < 0) throw invalid("diff", "got n = ", n, ", expected it not to be negative");
  array x = a;
  for (int i = 0; i < n && x.shape(at) > 0; ++i) {
    Shape start(x.ndim(), 0), stop(x.ndim(), kToEnd), first_stop(x.ndim(), kToEnd);
    start[at] = 1;
    first_stop[at] = -1;
    const array later = slice(x, start, stop, s), earlier = slice(x, Shape(x.ndim(), 0), first_stop, s);
    x = x.dtype() == bool_ ? not_equal(later, earlier, s) : subtract(later, earlier, s);
  }
  return x;
}

namespace {

const bool kept_scan =
    primitive_table().add<Scan>(
        "Scan", 1,
        [](const Scan& p, const Arrays& in) {
          const array& a = in[0];
          check_inputs(p, p.kind != Accumulation::logaddexp || issubdtype(a.dtype(), floating), in);
          return Arrays{scan_along(p.kind, p.name(), a, p.axis, p.reverse, p.inclusive, p.stream())};
        }) &&
    primitive_table().add<LinearRecurrence>(
        "LinearRecurrence", 2, [](const LinearRecurrence& p, const Arrays& in) {
          check_inputs(p, alike(in[0], in[1]) && issubdtype(in[0].dtype(), inexact), in);
          const int axis = checked_axis(p.name(), p.axis, in[0].shape());
          return Arrays{recurrence(in[0], in[1], axis, p.reverse, p.stream())};
        });

}  // namespace

}  // namespace mlx::core

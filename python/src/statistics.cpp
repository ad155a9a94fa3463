// Order statistics, moments, reductions without nan, and numerical calculus.
#include "mlx/statistics.h"

#include <array>
#include <numeric>
#include <string>

#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

std::vector<int> axes_or_all(const array& a, nb::handle axis, const char* function, int position) {
  if (const auto axes = to_axes(axis, function, position)) return *axes;
  std::vector<int> all(a.ndim());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  return all;
}

// Shares that are written as Python numbers keep all their digits: they choose positions.
array shares(nb::handle q, const char* function) {
  if (const array* a = as_array(q)) return *a;
  if (is_scalar(q.ptr()) || PyList_Check(q.ptr()) || PyTuple_Check(q.ptr()))
    return make_array(q, core::float64, function);
  if (std::optional<array> a = from_array_like(q, true)) return *a;
  bad_type({function, "q", 2}, "array", q);
}

struct Quantile {
  const char* name;
  array (*function)(const array&, const array&, const std::vector<int>&, bool, const std::string&,
                    StreamOrDevice);
  const char* text;
  const char* range;
};
const Quantile kQuantiles[] = {
    {"quantile", core::quantile, "The value below which a share ``q`` of the elements lies.", "[0, 1]"},
    {"percentile", core::percentile, "The value below which ``q`` percent of the elements lie.", "[0, 100]"},
};

void define(Module& m, const Quantile& r) {
  const std::string sig =
      std::string("def ") + r.name +
      "(a: array, q: scalar | array | Sequence[float], axis: None | int | Sequence[int] = None, *, "
      "method: str = 'linear', keepdims: bool = False, stream: StreamOrDevice = None) -> array";
  const std::string doc = std::string(r.text) + R"(

The elements are sorted; ``(n - 1) q`` is a position among them, and between two of them the result is interpolated.

Args:
  a: real numbers of any shape.
  q: a number or an array of them in )" +
                          r.range + R"(.
  axis: the axis or axes to sort over; ``None`` is all.
  method: what is between two elements: ``linear``, ``lower``, ``higher``, ``midpoint``, ``nearest``; or another
    definition of the position: ``inverted_cdf``, ``averaged_inverted_cdf``, ``closest_observation``,
    ``interpolated_inverted_cdf``, ``hazen``, ``weibull``, ``median_unbiased``, ``normal_unbiased``.
  keepdims: keep the axes, with size 1.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``q``, then that of ``a`` without the axes; floating dtypes are kept, others give float32, but methods that
  pick an element (``lower``, ``higher``, ``nearest``, ``inverted_cdf``, ``closest_observation``) keep any dtype. ``nan``
  among the elements gives ``nan``.
Raises:
  ValueError: ``q`` is out of range (where it is not known yet, the result is ``nan``), an axis has no elements, or there is
  no such method.
Source: R. Hyndman and Y. Fan, "Sample quantiles in statistical packages", 1996.)";
  m.def(
      r.name,
      [row = &r](nb::handle a, nb::handle q, nb::handle axis, const std::string& method, bool keepdims,
                 StreamOrDevice s) {
        ArrayArg x = to_array(a, {row->name, "a", 1});
        const auto axes = axes_or_all(x, axis, row->name, 3);
        return wrap(row->function(x, shares(q, row->name), axes, keepdims, method, s));
      },
      "a"_a, "q"_a, "axis"_a = nb::none(), nb::kw_only(), "method"_a = "linear", "keepdims"_a = false,
      "stream"_a = nb::none(), nb::sig(sig.c_str()), doc.c_str());
}

struct NanReduction {
  const char* name;
  array (*function)(const array&, const std::vector<int>&, bool, StreamOrDevice);
  const char* text;
  const char* nothing;  // what comes out where all is nan
};
const NanReduction kNanReductions[] = {
    {"nansum", core::nansum, "The sum of the elements that are not ``nan``.", "0 where there are none"},
    {"nanmean", core::nanmean, "The mean of the elements that are not ``nan``.",
     "``nan`` where there are none"},
    {"nanmax", core::nanmax, "The largest of the elements that are not ``nan``.",
     "``nan`` where there are none"},
    {"nanmin", core::nanmin, "The smallest of the elements that are not ``nan``.",
     "``nan`` where there are none"},
};

void define(Module& m, const NanReduction& r) {
  const std::string sig = std::string("def ") + r.name +
                          "(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
                          "stream: StreamOrDevice = None) -> array";
  const std::string doc = std::string(r.text) + R"(

Args:
  a: any shape.
  axis: the axis or axes to reduce; ``None`` is all.
  keepdims: keep the reduced axes, with size 1.
  stream: where to run; ``None`` is the default stream.
Returns:
  The dtype that the reduction without ``nan`` in its name has; )" +
                          r.nothing + ".";
  m.def(
      r.name,
      [row = &r](nb::handle a, nb::handle axis, bool keepdims, StreamOrDevice s) {
        ArrayArg x = to_array(a, {row->name, "a", 1});
        return wrap(row->function(x, axes_or_all(x, axis, row->name, 2), keepdims, s));
      },
      nb::arg(), "axis"_a = nb::none(), "keepdims"_a = false, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig(sig.c_str()), doc.c_str());
}

void define_moments(Module& m) {
  m.def(
      "cov",
      [](nb::handle x, nb::handle y, bool rowvar, bool bias, std::optional<int> ddof, nb::handle fweights,
         nb::handle aweights, StreamOrDevice s) {
        return wrap(core::cov(to_array(x, {"cov", "m", 1}), to_optional_array(y, {"cov", "y", 2}), rowvar,
                              bias, ddof, to_optional_array(fweights, {"cov", "fweights", 0}),
                              to_optional_array(aweights, {"cov", "aweights", 0}), s));
      },
      "m"_a, "y"_a = nb::none(), "rowvar"_a = true, "bias"_a = false, "ddof"_a = nb::none(),
      "fweights"_a = nb::none(), "aweights"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def cov(m: array, y: array | None = None, rowvar: bool = True, bias: bool = False, ddof: int "
              "| None = "
              "None, fweights: array | None = None, aweights: array | None = None, *, stream: StreamOrDevice "
              "= None) "
              "-> array"),
      R"(The covariances of variables, ``sum((x_i - mean_i) conj(x_j - mean_j)) / (n - ddof)``.

Args:
  m: a row per variable, a column per observation; or the observations of one variable.
  y: more variables.
  rowvar: false: a column is a variable, a row an observation.
  bias: divide by ``n`` instead of ``n - 1``.
  ddof: divide by ``n - ddof``, whatever ``bias`` says.
  fweights: integers: how often each observation was made.
  aweights: how much each observation counts.
  stream: where to run; ``None`` is the default stream.
Returns:
  A square matrix, or a number for one variable; floating and complex dtypes are kept, others give float32.
Raises:
  ValueError: there are more than two dimensions, or the numbers of observations differ.)");
  m.def(
      "var_mean",
      [](nb::handle a, nb::handle axis, bool keepdims, int ddof, StreamOrDevice s) {
        const array x = to_array(a, {"var_mean", "a", 1});
        std::vector<int> axes(x.ndim());
        std::iota(axes.begin(), axes.end(), 0);
        if (!axis.is_none()) axes = *to_axes(axis, "var_mean");
        const auto [variance, mean] = core::var_mean(x, axes, keepdims, ddof, s);
        return nb::make_tuple(wrap(variance), wrap(mean));
      },
      "a"_a, "axis"_a = nb::none(), "keepdims"_a = false, "ddof"_a = 0, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def var_mean(a: array, axis: None | int | Sequence[int] = None, keepdims: bool = False, ddof: "
              "int = 0, *, stream: StreamOrDevice = None) -> tuple[array, array]"),
      R"(Variance and mean from one pass over memory, as ``var`` and ``mean`` give them.

Args:
  a: any shape.
  axis: the axis or axes to reduce over; ``None`` is all.
  keepdims: keep the reduced axes, with size 1.
  ddof: what is taken off the number of elements in the divisor of the variance.
  stream: where to run; ``None`` is the default stream.
Returns:
  The variance and the mean: the shape of ``a`` without the reduced axes, float32 for integers and bool. The
  variance of complex numbers is real.
Raises:
  IndexError: an axis is out of range.

Source: Chan, Golub and LeVeque 1979 (moments of blocks are joined).)");
  m.def(
      "corrcoef",
      [](nb::handle x, nb::handle y, bool rowvar, StreamOrDevice s) {
        return wrap(core::corrcoef(to_array(x, {"corrcoef", "x", 1}),
                                   to_optional_array(y, {"corrcoef", "y", 2}), rowvar, s));
      },
      "x"_a, "y"_a = nb::none(), "rowvar"_a = true, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def corrcoef(x: array, y: array | None = None, rowvar: bool = True, *, stream: StreamOrDevice "
              "= None) "
              "-> array"),
      R"(Correlation coefficients of variables, ``cov_ij / sqrt(cov_ii cov_jj)``, within [-1, 1].

Args:
  x: a row per variable, a column per observation; or the observations of one variable.
  y: more variables.
  rowvar: false: a column is a variable, a row an observation.
  stream: where to run; ``None`` is the default stream.
Returns:
  A square matrix, or a number for one variable; ``nan`` for variables that do not vary.
Raises:
  ValueError: there are more than two dimensions, or the numbers of observations differ.)");
}

void define_calculus(Module& m) {
  m.def(
      "interp",
      [](nb::handle x, nb::handle xp, nb::handle fp, nb::handle left, nb::handle right,
         std::optional<double> period, StreamOrDevice s) {
        return wrap(core::interp(to_array(x, {"interp", "x", 1}), to_array(xp, {"interp", "xp", 2}),
                                 to_array(fp, {"interp", "fp", 3}),
                                 to_optional_array(left, {"interp", "left", 4}),
                                 to_optional_array(right, {"interp", "right", 5}), period, s));
      },
      "x"_a, "xp"_a, "fp"_a, "left"_a = nb::none(), "right"_a = nb::none(), "period"_a = nb::none(),
      nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def interp(x: scalar | array, xp: array, fp: array, left: scalar | array | None = None, "
              "right: scalar | "
              "array | None = None, period: float | None = None, *, stream: StreamOrDevice = None) -> array"),
      R"(The piecewise linear function through given points.

Args:
  x: where to evaluate it, any shape.
  xp: the places of the points, shape (n,), ascending unless there is a ``period``. Not checked.
  fp: their values, shape (n,).
  left: the value before the first point; ``None`` is that of the first.
  right: the value after the last point; ``None`` is that of the last.
  period: the function repeats after so much; ``left`` and ``right`` then have no meaning.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``x``, the promoted floating dtype. Derivatives by ``x`` are the slopes.
Raises:
  ValueError: the points do not fit together, or ``period`` is 0.)");
  m.def(
      "gradient",
      [](nb::handle f, nb::args spacing, nb::handle axis, int edge_order, StreamOrDevice s) -> nb::object {
        ArrayArg x = to_array(f, {"gradient", "f", 1});
        const auto axes = axes_or_all(x, axis, "gradient", 0);
        Arrays distances;
        for (nb::handle h : spacing) distances.push_back(to_array(h, {"gradient", "varargs", 2}));
        const Arrays out = core::gradient(x, distances, axes, edge_order, s);
        if (out.size() == 1) return wrap(out[0]);
        return wrap_tuple(out);
      },
      "f"_a, "varargs"_a, nb::kw_only(), "axis"_a = nb::none(), "edge_order"_a = 1, "stream"_a = nb::none(),
      nb::sig("def gradient(f: array, *varargs: scalar | array, axis: None | int | Sequence[int] = None, "
              "edge_order: int "
              "= 1, stream: StreamOrDevice = None) -> array | tuple[array, ...]"),
      R"(Derivatives along axes from samples, by differences of second order within and of ``edge_order`` at the ends.

Args:
  f: samples, any shape.
  varargs: nothing, for samples at distance 1; one distance for all axes; or for each axis a distance or the coordinates
    of its samples.
  axis: the axis or axes to differentiate along; ``None`` is all.
  edge_order: 1 or 2.
  stream: where to run; ``None`` is the default stream.
Returns:
  For one axis an array, for several a tuple with one for each; the shape of ``f``, a floating dtype.
Raises:
  ValueError: an axis has fewer than ``edge_order + 1`` elements, or the distances do not fit.)");
  m.def(
      "trapezoid",
      [](nb::handle y, nb::handle x, double dx, int axis, StreamOrDevice s) {
        return wrap(core::trapezoid(to_array(y, {"trapezoid", "y", 1}),
                                    to_optional_array(x, {"trapezoid", "x", 2}), dx, axis, s));
      },
      "y"_a, "x"_a = nb::none(), "dx"_a = 1.0, "axis"_a = -1, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def trapezoid(y: array, x: array | None = None, dx: float = 1.0, axis: int = -1, *, stream: "
              "StreamOrDevice = None) -> array"),
      R"(The integral along an axis by the trapezoidal rule, ``sum((y[i] + y[i + 1]) / 2 * (x[i + 1] - x[i]))``.

Args:
  y: samples, any shape.
  x: where they were taken: a vector, or the shape of ``y``; ``None`` for samples at distance ``dx``.
  dx: the distance of samples.
  axis: the axis to integrate over.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``y`` without the axis, a floating or complex dtype.
Raises:
  ValueError: the sizes of ``x`` and ``y`` do not fit.)");
}

}  // namespace

void init_statistics(Module& m) {
  for (const Quantile& r : kQuantiles) define(m, r);
  for (const NanReduction& r : kNanReductions) define(m, r);
  define_moments(m);
  define_calculus(m);
}

}  // namespace mlx::python

// Order statistics, counts, sets, moments, reductions that leave nan out, and numerical calculus. Names,
// parameters and results are NumPy's. All are composed of the operations in mlx/ops.h and inherit their
// derivatives and batching.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mlx/array.h"
#include "mlx/utils.h"

namespace mlx::core {

// --- order statistics (mlx/ops/quantile.cpp) ---

// The values below which a share q, in [0, 1], of the elements along the axes lies: shape of q, then that of
// a without the axes. Computed in a's floating dtype, or float32. `method`: one of NumPy's thirteen.
array quantile(const array& a, const array& q, const std::vector<int>& axes, bool keepdims = false,
               const std::string& method = "linear", StreamOrDevice s = {});
array quantile(const array& a, const array& q, bool keepdims = false, const std::string& method = "linear",
               StreamOrDevice s = {});
// The same with q in [0, 100].
array percentile(const array& a, const array& q, const std::vector<int>& axes, bool keepdims = false,
                 const std::string& method = "linear", StreamOrDevice s = {});
array percentile(const array& a, const array& q, bool keepdims = false, const std::string& method = "linear",
                 StreamOrDevice s = {});

// --- counts and sets (mlx/ops/histogram.cpp) ---

// Counts (int32; sums of the weights, floats, where there are any) and the edges of the bins, which hold
// their left edge, the last one both. Without a range, from the smallest to the largest element.
std::pair<array, array> histogram(const array& a, int bins = 10,
                                  const std::optional<std::pair<double, double>>& range = std::nullopt,
                                  bool density = false, const std::optional<array>& weights = std::nullopt,
                                  StreamOrDevice s = {});
std::pair<array, array> histogram(const array& a, const array& edges, bool density = false,
                                  const std::optional<array>& weights = std::nullopt, StreamOrDevice s = {});
// How often each of 0, ..., length - 1 occurs in x, or the sum of its weights; other elements count nowhere.
array bincount(const array& x, const std::optional<array>& weights, int length, StreamOrDevice s = {});
// The length follows from x, which is evaluated: max(x) + 1, at least minlength.
array bincount(const array& x, const std::optional<array>& weights = std::nullopt, StreamOrDevice s = {});
// The bin that each element of x falls into, from 0 (before the first edge) to the number of edges.
array digitize(const array& x, const array& bins, bool right = false, StreamOrDevice s = {});
// Whether each element is one of test_elements.
array isin(const array& element, const array& test_elements, bool invert = false, StreamOrDevice s = {});
// The positions of elements that are not zero, an array of indices (int32) per axis. `size` positions, cut
// off, or filled up with fill_value; without a size a is evaluated.
std::vector<array> nonzero(const array& a, int size, int fill_value = 0, StreamOrDevice s = {});
std::vector<array> nonzero(const array& a, StreamOrDevice s = {});
// The same as rows of one array.
array argwhere(const array& a, int size, int fill_value = 0, StreamOrDevice s = {});
array argwhere(const array& a, StreamOrDevice s = {});
// The number of distinct elements of a, which is evaluated: a size for unique().
int count_unique(const array& a, StreamOrDevice s = {});
// They themselves, in ascending order; a is evaluated.
array unique_values(const array& a, StreamOrDevice s = {});

// --- moments (mlx/ops/moments.cpp) ---

// Variance and mean, from one pass over a (mlx/ops/reduce.cpp).
std::pair<array, array> var_mean(const array& a, const std::vector<int>& axes, bool keepdims = false,
                                 int ddof = 0, StreamOrDevice s = {});

// The covariances of variables that are rows (or columns, rowvar = false) of m and, beside them, of y.
array cov(const array& m, const std::optional<array>& y = std::nullopt, bool rowvar = true, bool bias = false,
          const std::optional<int>& ddof = std::nullopt, const std::optional<array>& fweights = std::nullopt,
          const std::optional<array>& aweights = std::nullopt, StreamOrDevice s = {});
// Pearson's correlation coefficients.
array corrcoef(const array& x, const std::optional<array>& y = std::nullopt, bool rowvar = true,
               StreamOrDevice s = {});
array nansum(const array& a, const std::vector<int>& axes, bool keepdims = false, StreamOrDevice s = {});
array nanmean(const array& a, const std::vector<int>& axes, bool keepdims = false, StreamOrDevice s = {});
array nanmax(const array& a, const std::vector<int>& axes, bool keepdims = false, StreamOrDevice s = {});
array nanmin(const array& a, const std::vector<int>& axes, bool keepdims = false, StreamOrDevice s = {});

// --- calculus (mlx/ops/calculus.cpp) ---

// The piecewise linear function through the points (xp, fp), xp ascending, at x. `left` and `right`: the
// value before and after the points, by default that of the nearest.
array interp(const array& x, const array& xp, const array& fp,
             const std::optional<array>& left = std::nullopt,
             const std::optional<array>& right = std::nullopt,
             const std::optional<double>& period = std::nullopt, StreamOrDevice s = {});
// Differences of second order of a along each axis; `spacing`: nothing, one distance for all axes, or for
// each axis a distance or the coordinates.
std::vector<array> gradient(const array& a, const std::vector<array>& spacing, const std::vector<int>& axes,
                            int edge_order = 1, StreamOrDevice s = {});
// The integral along an axis by the trapezoidal rule.
array trapezoid(const array& y, const std::optional<array>& x = std::nullopt, double dx = 1.0, int axis = -1,
                StreamOrDevice s = {});

}  // namespace mlx::core

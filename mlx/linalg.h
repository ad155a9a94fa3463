// Linear algebra.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mlx/array.h"
#include "mlx/utils.h"

namespace mlx::core::linalg {

array norm(const array& a, const double ord, const std::optional<std::vector<int>>& axis = std::nullopt,
           bool keepdims = false, StreamOrDevice s = {});
array norm(const array& a, const double ord, int axis, bool keepdims = false, StreamOrDevice s = {});
array norm(const array& a, const std::string& ord, const std::optional<std::vector<int>>& axis = std::nullopt,
           bool keepdims = false, StreamOrDevice s = {});
array norm(const array& a, const std::string& ord, int axis, bool keepdims = false, StreamOrDevice s = {});
array norm(const array& a, const std::optional<std::vector<int>>& axis = std::nullopt, bool keepdims = false,
           StreamOrDevice s = {});
array norm(const array& a, int axis, bool keepdims = false, StreamOrDevice s = {});
// sum(|a|^ord)^(1 / ord) over any number of axes; inf, -inf and 0 as for norm.
array vector_norm(const array& a, double ord, const std::vector<int>& axes, bool keepdims = false,
                  StreamOrDevice s = {});
std::pair<array, array> qr(const array& a, StreamOrDevice s = {});
std::vector<array> svd(const array& a, bool compute_uv, StreamOrDevice s);
std::vector<array> svd(const array& a, StreamOrDevice s = {});
array inv(const array& a, StreamOrDevice s = {});
array tri_inv(const array& a, bool upper = false, StreamOrDevice s = {});
array cholesky(const array& a, bool upper = false, StreamOrDevice s = {});
array pinv(const array& a, StreamOrDevice s = {});
array cholesky_inv(const array& a, bool upper = false, StreamOrDevice s = {});
std::vector<array> lu(const array& a, StreamOrDevice s = {});
std::pair<array, array> lu_factor(const array& a, StreamOrDevice s = {});
array solve(const array& a, const array& b, StreamOrDevice s = {});
array solve_triangular(const array& a, const array& b, bool upper = false, StreamOrDevice s = {});
array cross(const array& a, const array& b, int axis = -1, StreamOrDevice s = {});
std::pair<array, array> eig(const array& a, StreamOrDevice s = {});
array eigvals(const array& a, StreamOrDevice s = {});
array eigvalsh(const array& a, std::string UPLO = "L", StreamOrDevice s = {});
std::pair<array, array> eigh(const array& a, std::string UPLO = "L", StreamOrDevice s = {});
array det(const array& a, StreamOrDevice s = {});
std::pair<array, array> slogdet(const array& a, StreamOrDevice s = {});

// --- rank (mlx/ops/rank.cpp). `rtol` is relative to the largest singular value ---

// How many singular values are above rtol times the largest, int32; by default max(m, n) eps.
array matrix_rank(const array& a, std::optional<double> rtol = std::nullopt, bool hermitian = false,
                  StreamOrDevice s = {});
// The same, with one absolute bound for all, or one for each matrix.
array matrix_rank(const array& a, const array& tol, bool hermitian = false, StreamOrDevice s = {});
// norm(a) norm(inv(a)); for the norms 2 and -2 the quotient of the extreme singular values. Infinite for
// singular matrices.
array cond(const array& a, double p = 2, StreamOrDevice s = {});
array cond(const array& a, const std::string& p, StreamOrDevice s = {});
// x that makes |a x - b| smallest and, of those, has the smallest norm; the squared norms of the columns of
// a x - b; the rank of a (int32); its singular values. Those up to rcond times the largest count as zeros; by
// default 10 max(m, n) eps.
std::vector<array> lstsq(const array& a, const array& b, std::optional<double> rcond = std::nullopt,
                         StreamOrDevice s = {});

// --- functions of matrices (mlx/ops/matrix_functions.cpp) ---

array matrix_power(const array& a, int n, StreamOrDevice s = {});
array expm(const array& a, StreamOrDevice s = {});
// The product of two or more matrices, in the order that takes the fewest multiplications; the first and the
// last may be vectors.
array multi_dot(const std::vector<array>& arrays, StreamOrDevice s = {});
// The singular values alone, in descending order.
array svdvals(const array& a, StreamOrDevice s = {});

}  // namespace mlx::core::linalg

// Products through the platform's BLAS equal our own, in every layout that it is given, and go there only
// then.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "mlx/cpu/gemm/gemm.h"
#include "mlx/mlx.h"

namespace mx = mlx::core;

namespace {

int failures = 0;
void check(bool ok, const std::string& what) {
  if (!ok) ++failures, std::printf("FAILED: %s\n", what.c_str());
}
double largest_difference(const mx::array& a, const mx::array& b) {
  return mx::max(mx::abs(mx::subtract(mx::astype(a, mx::float64), mx::astype(b, mx::float64))))
      .item<double>();
}

}  // namespace

int main() {
  void* blas = dlopen(std::getenv("MLX_ACCELERATE"), RTLD_NOW);
  const auto calls = blas ? reinterpret_cast<int (*)()>(dlsym(blas, "plain_blas_calls")) : nullptr;
  if (!calls) return std::printf("MLX_ACCELERATE names no library\n"), 1;

  for (const mx::Dtype dtype : {mx::float32, mx::float64})
    for (int form = 0; form < 4; ++form)
      for (int batch : {1, 3}) {
        const int m = 40, n = 56, k = 72;
        const bool ta = form & 1, tb = form & 2;
        const auto random = [&](mx::Shape shape) { return mx::astype(mx::random::normal(shape), dtype); };
        mx::array a = random(ta ? mx::Shape{batch, k, m} : mx::Shape{batch, m, k});
        mx::array b = random(tb ? mx::Shape{batch, n, k} : mx::Shape{batch, k, n});
        if (ta) a = mx::swapaxes(a, 1, 2);
        if (tb) b = mx::swapaxes(b, 1, 2);
        mx::eval(a, b);
        const int before = calls();
        mx::array product = mx::matmul(a, b);
        mx::eval(product);
        const std::string name = std::to_string(form) + ", batch " + std::to_string(batch);
        check(calls() == before + batch, "the library multiplied, form " + name);
        // The definition: a sum over k of products.
        const mx::array expected = mx::sum(mx::multiply(mx::expand_dims(mx::astype(a, mx::float64), 3),
                                                        mx::expand_dims(mx::astype(b, mx::float64), 1)),
                                           2);
        check(largest_difference(product, expected) < (dtype == mx::float32 ? 2e-5 : 1e-12),
              "values, form " + name);
      }

  const int before = calls();
  const mx::array a = mx::random::normal({64, 64});
  mx::eval(
      mx::matmul(mx::slice(a, {0, 0}, {64, 64}, {1, 2}), mx::slice(a, {0, 0}, {32, 64})),  // strided columns
      mx::matmul(mx::astype(a, mx::float16), mx::astype(a, mx::float16)),                  // another dtype
      mx::matmul(mx::slice(a, {0, 0}, {4, 4}), mx::slice(a, {0, 0}, {4, 4})));             // small
  check(calls() == before, "what CBLAS does not take stays here");
  std::printf("%d failed\n", failures);
  return failures != 0;
}

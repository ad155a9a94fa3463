// grad, vjp, jvp, vmap, checkpoint, custom functions and compile through their C++ functions, alone and
// combined.
#include "check.h"

using namespace api_test;
using Arrays = std::vector<array>;

namespace {

array cube(const array& x) { return x * x * x; }

void gradients() {
  const auto df = mx::grad(cube);
  check_equal(df(array(2.0f)), array(12.0f));
  check_equal(mx::grad(df)(array(2.0f)), array(12.0f));
  check_equal(mx::grad(mx::grad(df))(array(2.0f)), array(6.0f));

  const auto [value, slope] = mx::value_and_grad(cube)(array(3.0f));
  check_equal(value, array(27.0f));
  check_equal(slope, array(27.0f));

  const auto product = [](const Arrays& in) { return mx::sum(in[0] * in[1]); };
  const array a({1.0f, 2.0f}), b({3.0f, 4.0f});
  check_equal(mx::grad(product)({a, b})[0], b);
  check_equal(mx::grad(product, 1)({a, b})[0], a);
  const Arrays both = mx::grad(product, std::vector<int>{0, 1})({a, b});
  check(both.size() == 2);
  check_equal(both[1], a);

  // Several outputs: the first is differentiated, the others come along.
  const auto with_extra = mx::value_and_grad(
      mx::ArrayFunction([](const Arrays& in) { return Arrays{mx::sum(in[0]), in[0] * 2.0f}; }), {0});
  const auto [values, grads] = with_extra({a});
  check_equal(values[1], a * 2.0f);
  check_equal(grads[0], mx::ones({2}));

  check_throws<std::invalid_argument>([&] { return mx::grad(product, 2)({a, b}); });
  check_throws<std::invalid_argument>([&] { return mx::grad([](const array& x) { return x; })(a); });
}

void products_with_jacobians() {
  const auto [y, g] =
      mx::vjp([](const array& x) { return mx::square(x); }, array({1.0f, 2.0f}), array({10.0f, 1.0f}));
  check_equal(y, array({1.0f, 4.0f}));
  check_equal(g, array({20.0f, 4.0f}));
  const auto [z, t] =
      mx::jvp([](const array& x) { return mx::square(x); }, array({1.0f, 2.0f}), array({10.0f, 1.0f}));
  check_equal(z, y);
  check_equal(t, array({20.0f, 4.0f}));

  // u . (J v) == (u J) . v
  const auto f =
      mx::ArrayFunction([](const Arrays& in) { return Arrays{mx::matmul(mx::tanh(in[0]), in[1])}; });
  mx::random::seed(0);
  const Arrays x = {mx::random::normal({3, 4}), mx::random::normal({4, 2})};
  const Arrays v = {mx::random::normal({3, 4}), mx::random::normal({4, 2})};
  const array u = mx::random::normal({3, 2});
  const Arrays jv = mx::jvp(f, x, v).second, uj = mx::vjp(f, x, {u}).second;
  check_equal(mx::sum(u * jv[0]), mx::sum(uj[0] * v[0]) + mx::sum(uj[1] * v[1]), 1e-5);
}

void batches() {
  const array a = mx::reshape(mx::arange(6.0), {2, 3});
  const auto total = mx::vmap([](const array& x) { return mx::sum(x); });
  check_equal(total(a), array({3.0f, 12.0f}));
  check_equal(mx::vmap([](const array& x) { return mx::sum(x); }, 1)(a), array({3.0f, 5.0f, 7.0f}));
  const auto scale = mx::vmap([](const array& x, const array& y) { return x * y; }, 0, -1);
  check_equal(scale(a, array(2.0f)), a * 2.0f);
  check_equal(mx::vmap([](const array& x) { return x + 1.0f; }, 0, 1)(a), mx::transpose(a) + 1.0f);
  // Per-example gradients, and the gradient through a batch.
  check_equal(mx::vmap(mx::grad(cube))(array({1.0f, 2.0f})), array({3.0f, 12.0f}));
  check_equal(mx::grad([&](const array& x) { return mx::sum(total(x * x)); })(a), a * 2.0f);
  check_throws<std::invalid_argument>([&] { return total(array(1.0f)); });
}

void rules_of_ones_own() {
  const auto doubled_slope = mx::custom_function(
      [](const Arrays& in) { return Arrays{mx::sin(in[0])}; },
      [](const Arrays&, const Arrays& cotangents, const Arrays&) { return Arrays{cotangents[0] * 2.0f}; });
  const auto f = [&](const array& x) { return doubled_slope({x})[0]; };
  check_equal(f(array(0.5f)), mx::sin(array(0.5f)));
  check_equal(mx::grad(f)(array(0.5f)), array(2.0f));

  int calls = 0;
  const auto saved = mx::checkpoint([&](const Arrays& in) {
    ++calls;
    return Arrays{mx::exp(in[0])};
  });
  check_equal(mx::grad([&](const array& x) { return saved({x})[0]; })(array(1.0f)), mx::exp(array(1.0f)),
              1e-6);
  check(calls >= 1);

  const auto stopped = [](const array& x) { return mx::stop_gradient(x) * x; };
  check_equal(mx::grad(stopped)(array(3.0f)), array(3.0f));
}

void compilation() {
  int traces = 0;
  const auto f = mx::compile(mx::ArrayFunction([&](const Arrays& in) {
    ++traces;
    return Arrays{mx::exp(in[0]) * in[1] + in[0]};
  }));
  const array a({0.0f, 1.0f}), b({2.0f, 3.0f});
  for (int i = 0; i < 3; ++i) check_equal(f({a, b})[0], mx::exp(a) * b + a, 1e-6);
  check(traces == 1);
  f({array(0.0f), array(1.0f)});
  check(traces == 2);

  const auto df = mx::compile(mx::grad(cube));
  check_equal(df(array(2.0f)), array(12.0f));
  check_equal(mx::grad(mx::compile(cube))(array(2.0f)), array(12.0f));
  check_equal(mx::vmap(mx::compile(cube))(array({1.0f, 2.0f})), array({1.0f, 8.0f}));

  mx::disable_compile();
  traces = 0;
  f({a, b});
  f({a, b});
  check(traces == 2);
  mx::enable_compile();
}

}  // namespace

int main() {
  gradients();
  products_with_jacobians();
  batches();
  rules_of_ones_own();
  compilation();
  return report("transforms");
}

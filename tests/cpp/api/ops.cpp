// Operations through their C++ functions: overloads, operators, promotion, errors. Values for all dtypes and
// layouts are tested from Python; here is what only C++ has.
#include <complex>

#include "check.h"

using namespace api_test;

namespace {

void operators() {
  const array a({1.0f, 2.0f}), b({3.0f, 5.0f});
  check_equal(a + b, array({4.0f, 7.0f}));
  check_equal(b - a, array({2.0f, 3.0f}));
  check_equal(a * b, array({3.0f, 10.0f}));
  check_equal(b / a, array({3.0f, 2.5f}));
  check_equal(b % a, array({0.0f, 1.0f}));
  check_equal(-a, array({-1.0f, -2.0f}));
  check_equal(1 - a, array({0.0f, -1.0f}));
  check_equal(2.0f * a, array({2.0f, 4.0f}));
  check_equal(2.0 / a, array({2.0f, 1.0f}));
  check_equal(a < b, array({true, true}));
  check_equal(a == 2, array({false, true}));
  check_equal(3 >= b, array({true, false}));
  check_equal((a > 1.5f) && (b != 3.0f), array({false, true}));

  const array i({6, 5}), j({3, 1});
  check_equal(i & j, array({2, 1}));
  check_equal(i | j, array({7, 5}));
  check_equal(i ^ j, array({5, 4}));
  check_equal(i << array(1), array({12, 10}));
  check_equal(i >> array(1), array({3, 2}));
  check_equal(~array({true, false}), array({false, true}));
}

void promotion() {
  check((array(1, mx::int8) + array(1, mx::uint8)).dtype() == mx::int16);
  check((array({1}, mx::int32) / array({2}, mx::int32)).dtype() == mx::float32);
  check((array(1.0f) + array(1.0f, mx::float16)).dtype() == mx::float32);
  check((array(1.0f, mx::float16) + array(1.0f, mx::bfloat16)).dtype() == mx::float32);
  check(mx::exp(array({1, 2})).dtype() == mx::float32);
  check(mx::promote_types(mx::int64, mx::float16) == mx::float16);
  check(mx::issubdtype(mx::bfloat16, mx::floating) && !mx::issubdtype(mx::int8, mx::inexact));
  check(mx::size_of(mx::complex64) == 8 && mx::kindof(mx::uint16) == mx::Dtype::Kind::u);
}

void creation() {
  check_equal(mx::arange(3), array({0, 1, 2}));
  check_equal(mx::arange(1.0, 2.0, 0.5), array({1.0f, 1.5f}));
  check_equal(mx::linspace(0, 1, 3), array({0.0f, 0.5f, 1.0f}));
  check_equal(mx::full({2}, 7), array({7, 7}));
  check_equal(mx::full({2}, 1.5f, mx::float16), array({1.5f, 1.5f}, mx::float16));
  check_equal(mx::eye(2), array({1.0f, 0.0f, 0.0f, 1.0f}, {2, 2}));
  check_equal(mx::tril(mx::ones({2, 2})), array({1.0f, 0.0f, 1.0f, 1.0f}, {2, 2}));
  check_equal(mx::zeros_like(array({1, 2})), array({0, 0}));
}

void shapes() {
  const array a = mx::reshape(mx::arange(12), {3, 4});
  check(mx::reshape(a, {2, -1}).shape() == Shape{2, 6});
  check(mx::flatten(a).shape() == Shape{12});
  check(mx::unflatten(mx::arange(12), 0, {3, 4}).shape() == Shape{3, 4});
  check(mx::expand_dims(a, {0, 3}).shape() == Shape{1, 3, 4, 1});
  check(mx::squeeze(mx::expand_dims(a, 1)).shape() == Shape{3, 4});
  check_equal(mx::slice(a, {1, 0}, {3, 4}, {1, 2}), array({4, 6, 8, 10}, {2, 2}));
  check_equal(mx::slice_update(mx::zeros({2, 2}, mx::int32), array({5}, {1, 1}), Shape{1, 1}, {2, 2}),
              array({0, 0, 0, 5}, {2, 2}));
  check(mx::split(a, 2, 1)[1].shape() == Shape{3, 2});
  check(mx::split(a, Shape{1, 2}, 0).size() == 3);
  check(mx::concatenate({a, a}, 1).shape() == Shape{3, 8});
  check(mx::stack({a, a}, -1).shape() == Shape{3, 4, 2});
  check_equal(mx::pad(array({1, 2}), std::pair{1, 0}, array(9)), array({9, 1, 2}));
  check_equal(mx::tile(array({1, 2}), {2}), array({1, 2, 1, 2}));
  check_equal(mx::repeat(array({1, 2}), 2, 0), array({1, 1, 2, 2}));
  check(mx::moveaxis(mx::zeros({2, 3, 4}), 0, 2).shape() == Shape{3, 4, 2});
  check(mx::transpose(mx::zeros({2, 3, 4}), {2, 0, 1}).shape() == Shape{4, 2, 3});
  check(mx::broadcast_arrays({mx::zeros({3, 1}), mx::zeros({4})})[0].shape() == Shape{3, 4});
  check_throws<std::invalid_argument>([&] { return mx::reshape(a, {5, 5}); });
  check_throws<std::invalid_argument>([] { return mx::zeros({2}) + mx::zeros({3}); });
}

void reductions() {
  const array a({1.0f, 2.0f, 3.0f, 4.0f}, {2, 2});
  check(mx::sum(a).item<float>() == 10);
  check_equal(mx::sum(a, 0), array({4.0f, 6.0f}));
  check_equal(mx::mean(a, std::vector<int>{1}, true), array({1.5f, 3.5f}, {2, 1}));
  check(mx::max(a).item<float>() == 4 && mx::min(a, true).shape() == Shape{1, 1});
  check(mx::var(a).item<float>() == 1.25f);
  check(mx::prod(a).item<float>() == 24);
  check(mx::all(a > 0.0f).item<bool>() && !mx::any(a > 9.0f).item<bool>());
  check(mx::argmax(a).item<uint32_t>() == 3);
  check_equal(mx::cumsum(array({1, 2, 3}), 0), array({1, 3, 6}));
  check_equal(mx::logsumexp(mx::zeros({1})), array(0.0f), 1e-6);
  check_throws<std::exception>([&] { return mx::sum(a, 2); });
}

void sorting_and_indexing() {
  const array a({3, 1, 2});
  check_equal(mx::sort(a), array({1, 2, 3}));
  check_equal(mx::argsort(a), array({1, 2, 0}, mx::uint32));
  check_equal(mx::topk(a, 1), array({3}));
  const array m = mx::reshape(mx::arange(6), {2, 3});
  check_equal(mx::take(m, array({2, 0}), 1), array({2, 0, 5, 3}, {2, 2}));
  check_equal(mx::take_along_axis(m, array({0, 1}, {2, 1}), 1), array({0, 4}, {2, 1}));
  check_equal(mx::where(m > 2, m, array(0)), array({0, 0, 0, 3, 4, 5}, {2, 3}));
  check_equal(mx::scatter_add(mx::zeros({3}, mx::int32), array({1, 1}), array({5, 6}, {2, 1}), 0),
              array({0, 11, 0}));
}

void matrices() {
  const array a({1.0f, 2.0f, 3.0f, 4.0f}, {2, 2});
  check_equal(mx::matmul(a, a), array({7.0f, 10.0f, 15.0f, 22.0f}, {2, 2}));
  check_equal(mx::addmm(mx::ones({2, 2}), a, mx::eye(2), 2.0f, 1.0f), a * 2.0f + 1.0f);
  check_equal(mx::outer(array({1.0f, 2.0f}), array({3.0f})), array({3.0f, 6.0f}, {2, 1}));
  check_equal(mx::tensordot(a, a, 2), array(30.0f));
  check_equal(mx::einsum("ij,jk->ik", {a, a}), mx::matmul(a, a), 1e-6);
  check_equal(mx::linalg::norm(array({3.0f, 4.0f})), array(5.0f), 1e-6);
  check(mx::conv2d(mx::ones({1, 5, 5, 2}), mx::ones({3, 3, 3, 2})).shape() == Shape{1, 3, 3, 3});
  check_throws<std::invalid_argument>([&] { return mx::matmul(a, mx::zeros({3, 2})); });
}

void networks() {
  const array x({1.0f, 2.0f, 3.0f, 4.0f}, {2, 2});
  check_equal(mx::sum(mx::softmax(x, -1), -1), mx::ones({2}), 1e-6);
  check_equal(mx::mean(mx::fast::layer_norm(x, std::nullopt, std::nullopt, 1e-5f), -1), mx::zeros({2}), 1e-5);
  check(mx::fast::rms_norm(x, mx::ones({2}), 1e-5f).shape() == x.shape());
  const array q = mx::random::normal({1, 2, 4, 8});
  check(mx::fast::scaled_dot_product_attention(q, q, q, 0.35f, "causal").shape() == q.shape());
}

void random_numbers() {
  const array key = mx::random::key(7);
  check_equal(mx::random::uniform({4}, key), mx::random::uniform({4}, key));
  const auto [left, right] = mx::random::split(key);
  check(!mx::array_equal(left, right).item<bool>());
  mx::random::seed(3);
  const array first = mx::random::normal({3});
  mx::random::seed(3);
  check_equal(mx::random::normal({3}), first);
  check(mx::random::randint(0, 5, {100}).dtype() == mx::int32);
  check(mx::max(mx::random::uniform(0.0f, 0.5f, {100})).item<float>() < 0.5f);
}

void streams_and_devices() {
  check(mx::default_device() == mx::Device::cpu && mx::is_available(mx::Device::cpu));
  const mx::Stream s = mx::new_stream(mx::Device::cpu);
  const array a = mx::add(array(1), array(2), s);
  check(a.primitive().stream() == s);
  check(a.item<int>() == 3);
  {
    mx::StreamContext context(s);
    check(mx::default_stream(mx::Device::cpu) == s);
  }
  check(!(mx::default_stream(mx::Device::cpu) == s));
  mx::synchronize();
  check(std::string(mx::version()) == "0.32.4");
}

}  // namespace

int main() {
  operators();
  promotion();
  creation();
  shapes();
  reductions();
  sorting_and_indexing();
  matrices();
  networks();
  random_numbers();
  streams_and_devices();
  return report("ops");
}

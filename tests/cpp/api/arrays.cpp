// Arrays: construction, properties, access to the data, evaluation, and what keeps memory alive.
#include <algorithm>
#include <complex>
#include <numeric>
#include <sstream>

#include "check.h"

using namespace api_test;

namespace {

void construction() {
  const array scalar(2.5);
  check(scalar.dtype() == mx::float32 && scalar.ndim() == 0 && scalar.size() == 1);
  check(scalar.item<float>() == 2.5f);
  check(array(3).dtype() == mx::int32);
  check(array(true).dtype() == mx::bool_);
  check(array(int64_t{5}).dtype() == mx::int64);
  check(array(1, mx::bfloat16).dtype() == mx::bfloat16);
  check(array(std::complex<float>(1, 2)).item<mx::complex64_t>().imag() == 2);

  const array listed({1, 2, 3, 4}, {2, 2});
  check(listed.dtype() == mx::int32 && listed.shape() == Shape{2, 2} && listed.nbytes() == 16);
  check(array({1.0f, 2.0f}).shape() == Shape{2});
  check(array({1.0, 2.0}).dtype() == mx::float32);
  check_throws<std::invalid_argument>([] { return array({1, 2, 3}, {2, 2}); });

  std::vector<float> values(6);
  std::iota(values.begin(), values.end(), 0.0f);
  const array from_iterator(values.begin(), {2, 3});
  check(from_iterator.data<float>()[5] == 5.0f);
  check_equal(array(values.begin(), {6}, mx::int32), array({0, 1, 2, 3, 4, 5}));
}

void properties() {
  const array a = mx::zeros({2, 3, 4}, mx::float16);
  check(a.ndim() == 3 && a.size() == 24 && a.itemsize() == 2 && a.nbytes() == 48);
  check(a.shape(0) == 2 && a.shape(-1) == 4);
  check_throws<std::out_of_range>([&] { return a.shape(3); });
  check(mx::zeros({0, 3}).size() == 0);
  check_throws<std::invalid_argument>([] { return array({1.0f, 2.0f}).item<float>(); });

  std::ostringstream printed;
  printed << array({1, 2}) << mx::float32 << Shape{2, 3};
  check(printed.str().find("array([1, 2]") == 0);
  check(printed.str().find("float32(2,3)") != std::string::npos);
}

void iteration_and_identity() {
  const array a = mx::reshape(mx::arange(6), {3, 2});
  int row = 0;
  for (const array& r : a) check_equal(r, array({2 * row, 2 * row + 1})), ++row;
  check(row == 3);
  const array same = a;
  check(same.id() == a.id());
  check(mx::copy(a).id() != a.id());
}

void evaluation() {
  array a = mx::ones({3});
  array b = a + a;
  check(b.has_primitive() && !b.is_available());
  b.eval();
  check(b.is_available() && b.data<float>()[2] == 2.0f);
  b.detach();
  check(!b.has_primitive() && b.inputs().empty());

  array c = b * 2.0f, d = c + 1.0f;
  mx::eval(c, d);
  check(c.is_available() && d.is_available());
  array e = mx::exp(d);
  mx::async_eval(e);
  e.wait();
  check(e.is_available());
}

void views_and_strides() {
  const array a = mx::reshape(mx::arange(6), {2, 3});
  array t = mx::transpose(a);
  t.eval();
  check(t.shape() == Shape{3, 2} && t.strides(0) == 1 && t.strides(1) == 3);
  check(!t.flags().row_contiguous);
  array dense = mx::contiguous(t);
  dense.eval();
  check(dense.flags().row_contiguous && dense.data<int>()[1] == 3);
  array broadcast = mx::broadcast_to(array({1, 2, 3}), {1000, 3});
  broadcast.eval();
  check(broadcast.strides(0) == 0 && broadcast.data_size() == 3);
}

void constants() {
  array held = mx::zeros({4}), full = mx::full({2, 3}, 7.0f), like = mx::ones_like(full);
  array sum = held + mx::ones({4});
  mx::eval(held, full, like, sum);
  check(held.flags().row_contiguous && held.data_size() == 4 && held.data<float>()[3] == 0.0f);
  check(full.strides(0) == 3 && full.data<float>()[5] == 7.0f && like.data<float>()[5] == 1.0f);
  check(sum.data<float>()[3] == 1.0f);
  held.data<float>()[3] = 5.0f;
  check_equal(mx::zeros({2}), array({0.0f, 0.0f}));
}

void outside_memory() {
  int deleted = 0;
  float memory[4] = {1, 2, 3, 4};
  {
    array a(memory, Shape{2, 2}, mx::float32, [&](void* p) { deleted += p == memory; });
    array b = a + 1.0f;
    b.eval();
    check(b.data<float>()[3] == 5.0f && memory[3] == 4.0f);
    check(deleted == 0);
  }
  check(deleted == 1);
}

void custom_buffers() {
  array a(mx::allocator::malloc(3 * sizeof(int32_t)), Shape{3}, mx::int32);
  std::fill_n(a.data<int32_t>(), 3, 7);
  check_equal(a + 1, array({8, 8, 8}));
}

void memory_counters() {
  mx::synchronize();
  const size_t before = mx::get_active_memory();
  {
    array a = mx::arange(1 << 20);
    a.eval();
    check(mx::get_active_memory() >
          before + (size_t{3} << 20));  // a worker may still let go of an earlier array
  }
  check(mx::get_active_memory() < before + (size_t{1} << 20));
  mx::clear_cache();
  check(mx::get_cache_memory() == 0);
  const size_t limit = mx::set_memory_limit(before + (size_t{1} << 24));
  check_throws<std::exception>([] { mx::arange(1 << 26).eval(); });
  mx::set_memory_limit(limit);
  check(mx::ones({4}).nbytes() == 16);
}

void deep_graphs() {
  array a(0.0f);
  for (int i = 0; i < 200000; ++i) a = a + 1.0f;
  check(a.item<float>() == 200000.0f);
  for (int i = 0; i < 200000; ++i) a = a + 1.0f;  // destroyed without being evaluated
}

}  // namespace

int main() {
  construction();
  properties();
  iteration_and_identity();
  evaluation();
  views_and_strides();
  constants();
  outside_memory();
  custom_buffers();
  memory_counters();
  deep_graphs();
  return report("arrays");
}

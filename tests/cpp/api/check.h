// What the tests of the public API share: checks that say where they failed, and arrays compared with
// literals.
#pragma once

#include <cmath>
#include <cstdio>
#include <iostream>
#include <source_location>
#include <vector>

#include "mlx/mlx.h"

namespace api_test {

namespace mx = mlx::core;
using mx::array;
using mx::Shape;
using Where = std::source_location;

inline int checks = 0, failures = 0;

inline void check(bool ok, Where where = Where::current()) {
  ++checks;
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED %s:%u\n", where.file_name(), static_cast<unsigned>(where.line()));
}

// Shape, dtype and every value are equal; floats within `tolerance` of the largest of 1 and the value.
inline void check_equal(const array& got, const array& expected, double tolerance = 0,
                        Where where = Where::current()) {
  bool same = got.shape() == expected.shape() && got.dtype() == expected.dtype();
  if (same)
    same = tolerance == 0 ? mx::array_equal(got, expected, true).item<bool>()
                          : mx::allclose(got, expected, tolerance, tolerance, true).item<bool>();
  if (!same)
    std::cerr << "got " << got.shape() << " " << got << "\nexpected " << expected.shape() << " " << expected
              << "\n";
  check(same, where);
}

template <class E, class F>
void check_throws(F&& f, Where where = Where::current()) {
  bool thrown = false;
  try {
    f();
  } catch (const E& e) {
    thrown = e.what()[0] != '\0';
  }
  check(thrown, where);
}

inline int report(const char* name) {
  std::printf("%s: %d checks, %d failures\n", name, checks, failures);
  return failures != 0 || checks == 0;
}

}  // namespace api_test

// What the tests here share: checks that count failures and say what failed.
#pragma once

#include <cstdio>
#include <exception>
#include <string>

namespace io_test {

inline int failures = 0;

inline void check(bool ok, const std::string& what) {
  if (ok) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

// f must throw E with `part` in its message.
template <class E, class F>
void refused(const std::string& part, const std::string& what, F&& f) {
  try {
    f();
    check(false, what + " was accepted");
  } catch (const E& e) {
    check(std::string(e.what()).find(part) != std::string::npos, what + ": got the message " + e.what());
  } catch (const std::exception& e) {
    check(false, what + ": got another exception: " + e.what());
  }
}

inline int report() {
  std::printf("%d failures\n", failures);
  return failures ? 1 : 0;
}

}  // namespace io_test

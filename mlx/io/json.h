// A strict reader of JSON (RFC 8259) for text that nobody vouches for, driven by what the caller expects: no
// tree is built, so memory does not grow with nesting or with members that are skipped.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mlx::core::io {

// What came where and what was expected: "byte 17: got 'x', expected a string".
class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class JsonReader {
 public:
  // `text` outlives the reader.
  explicit JsonReader(std::string_view text) : text_(text) {}

  // Calls member(key) for each member of an object; it reads the value. A key that occurs twice is an error.
  void object(const std::function<void(const std::string& key)>& member);
  // Calls element() for each element of an array; it reads the value.
  void array(const std::function<void()>& element);
  std::string string();
  uint64_t unsigned_integer();
  // Consumes null where that comes next.
  bool null();
  // Any value, checked and forgotten; at most 64 levels deep.
  void skip() { skip(0); }
  // Nothing but white space may follow.
  void end();

 private:
  [[noreturn]] void fail(std::string_view expected) const;
  void space();
  bool take(char c);
  void expect(char c, std::string_view expected);
  void word(std::string_view w);
  void number();
  uint32_t hex4();
  void escape(std::string& out);
  void skip(int depth);

  std::string_view text_;
  size_t at_ = 0;
};

// With quotes and escapes. `text` is UTF-8.
std::string json_string(std::string_view text);

}  // namespace mlx::core::io

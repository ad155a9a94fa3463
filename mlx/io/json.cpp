#include "mlx/io/json.h"

#include <unordered_set>

#include "mlx/io/text.h"

namespace mlx::core::io {
namespace {

constexpr int kDepth = 64;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, uint32_t code) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

}  // namespace

void JsonReader::fail(std::string_view expected) const {
  const std::string got = at_ < text_.size() ? in_quotes(text_.substr(at_, 1)) : "the end";
  throw JsonError("byte " + std::to_string(at_) + ": got " + got + ", expected " + std::string(expected));
}

void JsonReader::space() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
    ++at_;
}

bool JsonReader::take(char c) {
  if (at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

void JsonReader::expect(char c, std::string_view expected) {
  space();
  if (!take(c)) fail(expected);
}

void JsonReader::object(const std::function<void(const std::string&)>& member) {
  expect('{', "an object");
  space();
  if (take('}')) return;
  std::unordered_set<std::string> seen;
  while (true) {
    const std::string key = string();
    if (!seen.insert(key).second)
      throw JsonError("byte " + std::to_string(at_) + ": got the key " + in_quotes(key) +
                      " twice, expected it once");
    expect(':', "':'");
    member(key);
    space();
    if (take('}')) return;
    if (!take(',')) fail("',' or '}'");
  }
}

void JsonReader::array(const std::function<void()>& element) {
  expect('[', "an array");
  space();
  if (take(']')) return;
  while (true) {
    element();
    space();
    if (take(']')) return;
    if (!take(',')) fail("',' or ']'");
  }
}

uint32_t JsonReader::hex4() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    const int digit = is_digit(c)            ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) fail("four hexadecimal digits");
    value = value << 4 | static_cast<uint32_t>(digit);
  }
  return value;
}

void JsonReader::escape(std::string& out) {
  constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
  if (take('u')) {
    uint32_t code = hex4();
    if (code >= 0xdc00 && code < 0xe000) fail("no second half of a surrogate pair without the first");
    if (code >= 0xd800 && code < 0xdc00) {
      if (!take('\\') || !take('u')) fail("the second half of a surrogate pair");
      const uint32_t low = hex4();
      if (low < 0xdc00 || low >= 0xe000) fail("the second half of a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, code);
    return;
  }
  const size_t letter = at_ < text_.size() ? kLetters.find(text_[at_]) : std::string_view::npos;
  if (letter == std::string_view::npos) fail("an escape sequence");
  ++at_;
  out += kMeanings[letter];
}

std::string JsonReader::string() {
  expect('"', "a string");
  std::string out;
  while (true) {
    size_t stop = at_;
    while (stop < text_.size() && text_[stop] != '"' && text_[stop] != '\\' &&
           static_cast<unsigned char>(text_[stop]) >= 0x20)
      ++stop;
    const std::string_view plain = text_.substr(at_, stop - at_);
    if (!is_utf8(plain)) throw JsonError("byte " + std::to_string(at_) + ": got a string that is not UTF-8");
    out += plain;
    at_ = stop;
    if (take('"')) return out;
    if (!take('\\')) fail("'\"' at the end of a string");
    escape(out);
  }
}

uint64_t JsonReader::unsigned_integer() {
  constexpr std::string_view kExpected = "an integer from 0 to 2^64 - 1";
  space();
  const size_t start = at_;
  uint64_t value = 0;
  for (; at_ < text_.size() && is_digit(text_[at_]); ++at_)
    if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(text_[at_] - '0'), &value))
      fail(kExpected);
  if (at_ == start || (text_[start] == '0' && at_ - start > 1)) fail(kExpected);
  if (at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E')) fail(kExpected);
  return value;
}

void JsonReader::word(std::string_view w) {
  if (text_.substr(at_, w.size()) != w) fail("a value");
  at_ += w.size();
}

bool JsonReader::null() {
  space();
  if (at_ >= text_.size() || text_[at_] != 'n') return false;
  word("null");
  return true;
}

void JsonReader::number() {
  const auto digits = [&] {
    if (at_ >= text_.size() || !is_digit(text_[at_])) fail("a digit");
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
  };
  if (at_ >= text_.size() || (text_[at_] != '-' && !is_digit(text_[at_]))) fail("a value");
  take('-');
  if (!take('0')) digits();
  if (take('.')) digits();
  if (take('e') || take('E')) {
    if (!take('+')) take('-');
    digits();
  }
}

void JsonReader::skip(int depth) {
  if (depth > kDepth) fail("at most 64 levels of nesting");
  space();
  switch (at_ < text_.size() ? text_[at_] : '\0') {
    case '{':
      return object([&](const std::string&) { skip(depth + 1); });
    case '[':
      return array([&] { skip(depth + 1); });
    case '"':
      string();
      return;
    case 't':
      return word("true");
    case 'f':
      return word("false");
    case 'n':
      return word("null");
    default:
      return number();
  }
}

void JsonReader::end() {
  space();
  if (at_ < text_.size()) fail("the end");
}

std::string json_string(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (u < 0x20) {
      out += {'\\', 'u', '0', '0', kDigits[u >> 4], kDigits[u & 15]};
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace mlx::core::io

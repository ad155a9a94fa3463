// The JSON reader: what the grammar has, and what it has not.
#include "mlx/io/json.h"

#include <map>
#include <utility>
#include <vector>

#include "mlx/io/text.h"
#include "tests/cpp/io/check.h"

using namespace mlx::core::io;
using io_test::check;

namespace {

void skip_all(const std::string& text) {
  JsonReader json(text);
  json.skip();
  json.end();
}

void values() {
  for (const char* text : {"0", "-0", "10", "1.5", "1e5", "-1.25E-3", "1E+2", "true", "false", "null", "\"\"",
                           "[]", "{}", " [ 1 , [ ] , { } ] ", "{\"a\":{\"b\":[1,\"x\"]},\"c\":null}\n"}) {
    try {
      skip_all(text);
    } catch (const JsonError& e) {
      check(false, std::string(text) + ": " + e.what());
    }
  }
  for (const char* text : {"",
                           " ",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "1e",
                           "1e+",
                           "-",
                           "tru",
                           "nul",
                           "True",
                           "NaN",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "[1",
                           "{",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{1:2}",
                           "1 1",
                           "[]]",
                           "\"",
                           "\"a",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "\"\\ud800\\u0041\"",
                           "\"\\udc00\"",
                           "\"\n\"",
                           "\"\t\"",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "'a'",
                           "/**/1",
                           "{\"a\":1,\"a\":2}",
                           "{\"a\":1,\"\\u0061\":2}"})
    io_test::refused<JsonError>("byte ", text, [&] { skip_all(text); });
  const std::string zero("\"a\0b\"", 5);
  io_test::refused<JsonError>("byte ", "a null character", [&] { skip_all(zero); });
}

void nesting() {
  const auto nested = [](int n) { return std::string(n, '[') + std::string(n, ']'); };
  skip_all(nested(64));
  io_test::refused<JsonError>("64", "deep nesting", [&] { skip_all(nested(100'000)); });
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
  io_test::refused<JsonError>("64", "deep objects", [&] { skip_all(objects); });
}

std::string read_string(const std::string& text) {
  JsonReader json(text);
  return json.string();
}

void strings() {
  check(read_string(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t", "short escapes");
  check(read_string(R"("\u0041\u00fc\u20AC\ud83d\ude00")") == "A\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80",
        "\\u escapes");
  check(read_string(R"("\u0000")") == std::string(1, '\0'), "an escaped null character");
  const std::string odd = std::string("a\"b\\c\n\x01\x1f/ü€") + '\0';
  check(read_string(json_string(odd)) == odd, "a string written and read again");
}

void integers() {
  const auto read = [](const std::string& text) { return JsonReader(text).unsigned_integer(); };
  check(read(" 18446744073709551615") == ~uint64_t{0}, "the largest integer");
  check(read("0") == 0, "zero");
  for (const char* text :
       {"18446744073709551616", "99999999999999999999999", "-1", "1.0", "1e3", "01", "x", ""})
    io_test::refused<JsonError>("integer", text, [&] { read(text); });
}

void structure() {
  const std::string text = R"({"a": [1, 2, 3], "b": [], "c": null, "d": {"e": 4}})";
  JsonReader json(text);
  std::map<std::string, std::vector<uint64_t>> got;
  json.object([&](const std::string& key) {
    auto& values = got[key];
    if (key == "c") return check(json.null(), "null");
    if (key == "d") return json.skip();
    check(!json.null(), "no null");
    json.array([&] { values.push_back(json.unsigned_integer()); });
  });
  json.end();
  check(got["a"] == std::vector<uint64_t>{1, 2, 3} && got["b"].empty() && got.size() == 4,
        "an object's members");
}

void quotes() {
  check(in_quotes("ab") == "'ab'", "plain text");
  check(in_quotes("a\n\xff") == "'a\\x0a\\xff'", "escaped text");
  check(in_quotes(std::string(1000, 'x')).size() < 120, "long text is cut");
  check(is_utf8("ü€\xf4\x8f\xbf\xbf") && !is_utf8("\xf4\x90\x80\x80") && !is_utf8("\xe2\x82"), "UTF-8");
}

}  // namespace

int main() {
  values();
  nesting();
  strings();
  integers();
  structure();
  quotes();
  return io_test::report();
}

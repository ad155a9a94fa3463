// Tokens of preprocessed C++, good enough to rewrite source in place: text, what stands before it, and where
// it came from. Joining space and text of all tokens gives the source back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlx::core::metal::sim {

struct Token {
  enum Kind { Identifier, Number, String, Punctuation, Directive };
  Kind kind;
  std::string space;  // white space before it
  std::string text;   // "" where it was erased
  std::string file;   // by the line directives before it
  int line = 0;

  bool is(std::string_view t) const { return text == t; }
};

std::vector<Token> tokenize(std::string_view source, const std::string& file);
std::string join(const std::vector<Token>& tokens);

// Index of the bracket that closes the one at `open` ("(", "[", "{", or "<" in a context of types), or the
// number of tokens.
size_t closing(const std::vector<Token>& tokens, size_t open);

}  // namespace mlx::core::metal::sim

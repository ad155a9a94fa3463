#include "metal/sim/tokens.h"

#include <cctype>
#include <cstdlib>

namespace mlx::core::metal::sim {

namespace {

bool starts_identifier(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$'; }
bool continues_identifier(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$';
}

class Scanner {
 public:
  Scanner(std::string_view source, const std::string& file) : s_(source), file_(file) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    std::string space;
    while (at_ < s_.size()) {
      const size_t start = at_;
      const char c = s_[at_];
      if (c == '\n' || std::isspace(static_cast<unsigned char>(c))) {
        if (c == '\n') ++line_, line_start_ = true;
        space += c;
        ++at_;
        continue;
      }
      if (comment()) {
        space += s_.substr(start, at_ - start);
        continue;
      }
      Token token;
      token.line = line_;
      token.file = file_;
      token.kind = scan();
      token.space = std::move(space);
      token.text = s_.substr(start, at_ - start);
      space.clear();
      line_start_ = false;
      if (token.kind == Token::Directive) line_directive(token.text);
      tokens.push_back(std::move(token));
    }
    return tokens;
  }

 private:
  char peek(size_t n = 0) const { return at_ + n < s_.size() ? s_[at_ + n] : '\0'; }

  bool comment() {
    if (peek() != '/' || (peek(1) != '/' && peek(1) != '*')) return false;
    if (peek(1) == '/') {
      while (at_ < s_.size() && s_[at_] != '\n') ++at_;
      return true;
    }
    const size_t end = std::min(s_.find("*/", at_ + 2), s_.size() - 2) + 2;
    for (; at_ < end; ++at_) line_ += s_[at_] == '\n';
    return true;
  }

  Token::Kind scan() {
    const char c = peek();
    if (c == '#' && line_start_) {
      while (at_ < s_.size() && s_[at_] != '\n') ++at_;
      return Token::Directive;
    }
    if (c == '"' || c == '\'') {
      quoted(c);
      return Token::String;
    }
    if (starts_identifier(c)) {
      while (continues_identifier(peek())) ++at_;
      return Token::Identifier;
    }
    if (std::isdigit(static_cast<unsigned char>(c)) ||
        (c == '.' && std::isdigit(static_cast<unsigned char>(peek(1))))) {
      number();
      return Token::Number;
    }
    punctuation();
    return Token::Punctuation;
  }

  void quoted(char quote) {
    for (++at_; at_ < s_.size() && s_[at_] != quote && s_[at_] != '\n'; ++at_) at_ += s_[at_] == '\\';
    at_ = std::min(at_ + 1, s_.size());
  }

  void number() {
    while (continues_identifier(peek()) || peek() == '.' ||
           (peek() == '\'' && continues_identifier(peek(1))) ||
           ((peek() == '+' || peek() == '-') && exponent(s_[at_ - 1])))
      ++at_;
  }
  // Whether a sign may follow: 1e-3, 0x1p-3, but not 0xe-3.
  bool exponent(char before) const {
    if (before == 'p' || before == 'P') return true;
    if (before != 'e' && before != 'E') return false;
    size_t start = at_;
    while (start > 0 && (continues_identifier(s_[start - 1]) || s_[start - 1] == '.')) --start;
    return !(s_[start] == '0' && (s_[start + 1] == 'x' || s_[start + 1] == 'X'));
  }

  // Those of several characters that rewriting could split wrongly; ">>" stays two tokens, for template
  // arguments.
  void punctuation() {
    for (const char* p :
         {"::", "->", "...", "<=", ">=", "==", "!=", "&&", "||", "++", "--", "+=", "-=", "*=", "/=", "<<"})
      if (s_.substr(at_).starts_with(p)) {
        at_ += std::string_view(p).size();
        return;
      }
    ++at_;
  }

  // `# 12 "file"` or `#line 12 "file"`: the next line is line 12.
  void line_directive(std::string_view text) {
    size_t i = 1;
    while (i < text.size() && text[i] == ' ') ++i;
    if (text.substr(i).starts_with("line ")) i += 5;
    if (i >= text.size() || !std::isdigit(static_cast<unsigned char>(text[i]))) return;
    line_ = std::atoi(text.data() + i) - 1;
    const size_t open = text.find('"', i), close = text.rfind('"');
    if (open != std::string_view::npos && close > open) file_ = text.substr(open + 1, close - open - 1);
  }

  std::string_view s_;
  std::string file_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_start_ = true;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& file) {
  return Scanner(source, file).run();
}

std::string join(const std::vector<Token>& tokens) {
  std::string out;
  for (const Token& t : tokens) {
    out += t.space;
    out += t.text;
  }
  return out + "\n";
}

size_t closing(const std::vector<Token>& tokens, size_t open) {
  const std::string& o = tokens[open].text;
  const std::string_view c = o == "(" ? ")" : o == "[" ? "]" : o == "{" ? "}" : ">";
  int depth = 0;
  for (size_t i = open; i < tokens.size(); ++i) {
    const std::string& t = tokens[i].text;
    if (t == o) {
      ++depth;
    } else if (t == c) {
      if (--depth == 0) return i;
    } else if (o == "<") {
      if (t == "(" || t == "[" || t == "{") i = closing(tokens, i);
      if (t == ";") break;
    }
  }
  return tokens.size();
}

}  // namespace mlx::core::metal::sim

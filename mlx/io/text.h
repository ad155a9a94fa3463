// Text from files, which may be anything.
#pragma once

#include <string>
#include <string_view>

namespace mlx::core::io {

bool is_utf8(std::string_view text);
// For error messages: in quotes, at most 100 bytes, everything but printable characters as \xNN. Always
// UTF-8.
std::string in_quotes(std::string_view text);

}  // namespace mlx::core::io

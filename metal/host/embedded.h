// The files of metal/kernels, which the build turns into strings (metal/embed.cmake).
#pragma once

namespace mlx::core::metal {

struct EmbeddedFile {
  const char* name;  // "softmax.metal"
  const char* text;
};
// Ends with a null name.
extern const EmbeddedFile embedded_files[];

}  // namespace mlx::core::metal

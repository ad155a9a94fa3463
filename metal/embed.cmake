# Writes OUTPUT, a C++ source with the text of each of FILES (names separated by |): the sources of kernels are a part of the
# library.
string(REPLACE "|" ";" files "${FILES}")
set(text "// Made from metal/kernels by metal/embed.cmake.\n#include \"metal/host/embedded.h\"\n\nnamespace mlx::core::metal {\n\nconst EmbeddedFile embedded_files[] = {\n")
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME)
  file(READ ${file} content)
  string(APPEND text "{\"${name}\", R\"~kernel~(${content})~kernel~\"},\n")
endforeach()
string(APPEND text "{nullptr, nullptr}};\n\n}  // namespace mlx::core::metal\n")
file(WRITE ${OUTPUT} "${text}")

# Builds for macOS on Apple silicon, on any machine: the compiler is clang as the PyPI package `ziglang` carries it, with
# the headers of Darwin and libc++ and a stub of libSystem. No SDK of Apple's is used, and no tool of theirs.
#
#   cmake -S . -B build-macos -G Ninja -DCMAKE_TOOLCHAIN_FILE=metal/wheel/aarch64-macos.cmake
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
set(MLX_MACOS_MINIMUM 14.0)
set(MLX_PYTHON_PLATFORM darwin)

# The interpreter says where zig is; a compiler that is one file is what CMake and ccache want.
if(NOT MLX_ZIG)
  find_program(MLX_ZIG_PYTHON NAMES python3 python REQUIRED)
  execute_process(COMMAND ${MLX_ZIG_PYTHON} -c "import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'))"
    OUTPUT_VARIABLE MLX_ZIG OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT MLX_ZIG)
    message(FATAL_ERROR "The macOS build needs zig as a compiler: pip install ziglang (or -DMLX_ZIG=/path/to/zig)")
  endif()
  set(MLX_ZIG ${MLX_ZIG} CACHE FILEPATH "zig")
  execute_process(COMMAND ${MLX_ZIG} version OUTPUT_VARIABLE MLX_ZIG_VERSION OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(MLX_ZIG_VERSION ${MLX_ZIG_VERSION} CACHE INTERNAL "")
endif()
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MLX_ZIG MLX_ZIG_VERSION MLX_ZIG_TOOLS)
if(NOT MLX_ZIG_TOOLS)
  set(MLX_ZIG_TOOLS ${CMAKE_BINARY_DIR}/zig CACHE INTERNAL "")
endif()
# libc++ is the system's, so that exceptions and strings pass between this library, Python's extensions and programs that
# Xcode builds. zig's headers mean a libc++ of their own version, linked statically: the macros make them keep to what
# macOS has at the minimum version; libc++.1.tbd is what there is to link with.
set(MLX_LIBCXX -U_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS -D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=1
  -U_LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS -U_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS)
string(JOIN " " MLX_LIBCXX ${MLX_LIBCXX})
set(MLX_LINK_STUB ${CMAKE_CURRENT_LIST_DIR}/libc++.1.tbd)
set(link_options "-Wl,-x -Wl,-S -nostdlib++ ${MLX_LINK_STUB}")
foreach(kind EXE SHARED MODULE)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT "${link_options}")
endforeach()
foreach(tool cc c++ ar ranlib)
  set(options "")
  if(tool MATCHES "^c")
    set(options "-target aarch64-macos.${MLX_MACOS_MINIMUM} -fno-sanitize=undefined ${MLX_LIBCXX}")
  endif()
  if(NOT EXISTS ${MLX_ZIG_TOOLS}/${tool})
    file(WRITE ${MLX_ZIG_TOOLS}/${tool} "#!/bin/sh\nexec '${MLX_ZIG}' ${tool} ${options} \"$@\"\n")
    file(CHMOD ${MLX_ZIG_TOOLS}/${tool} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  endif()
endforeach()
set(CMAKE_C_COMPILER ${MLX_ZIG_TOOLS}/cc)
set(CMAKE_CXX_COMPILER ${MLX_ZIG_TOOLS}/c++)
set(CMAKE_AR ${MLX_ZIG_TOOLS}/ar CACHE FILEPATH "")
set(CMAKE_RANLIB ${MLX_ZIG_TOOLS}/ranlib CACHE FILEPATH "")
find_program(MLX_CCACHE ccache)
if(MLX_CCACHE)
  # The compiler is a script: its version is what objects depend on.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_COMPILERTYPE=clang CCACHE_COMPILERCHECK=string:zig-${MLX_ZIG_VERSION}
    ${MLX_CCACHE} CACHE STRING "")
endif()

# The target says it all; there is no sysroot to ask.
set(CMAKE_OSX_SYSROOT "" CACHE STRING "")
set(CMAKE_OSX_ARCHITECTURES "" CACHE STRING "")
set(CMAKE_OSX_DEPLOYMENT_TARGET "" CACHE STRING "")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# What is installed is what was linked: install_name_tool is not needed, and the signature stays valid.
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_NAME_TOOL true CACHE FILEPATH "")

"""Building extension packages with setuptools: C++ operations for ``mlx.core`` arrays.

    from setuptools import setup
    from mlx import extension

    setup(
        name="my_ops",
        packages=["my_ops"],
        ext_modules=[extension.CMakeExtension("my_ops._ext")],
        cmdclass={"build_ext": extension.CMakeBuild},
    )

The CMakeLists.txt beside setup.py says ``find_package(MLX CONFIG REQUIRED)`` and builds the module ``_ext``; for
bindings with nanobind it passes ``NB_DOMAIN mlx`` to ``nanobind_add_module``, so that both share the array type.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

__all__ = ["BuildExtension", "CMakeBuild", "CMakeExtension", "MetalExtension", "MetalLibrary"]

_PACKAGE = Path(__file__).resolve().parent


class CMakeExtension(Extension):
    """An extension module that CMake builds.

    Args:
      name: the full name of the module, such as ``"my_ops._ext"``.
      sourcedir: the folder of its CMakeLists.txt.
    """

    def __init__(self, name: str, sourcedir: str = "") -> None:
        super().__init__(name, sources=[])
        self.sourcedir = os.path.abspath(sourcedir)


class CMakeBuild(build_ext):
    """The ``build_ext`` command for ``CMakeExtension``.

    CMake gets ``CMAKE_LIBRARY_OUTPUT_DIRECTORY`` (the package's folder), the build type (``--debug``: Debug), this
    Python, and where this package's MLXConfig.cmake is. The environment variable ``CMAKE_ARGS`` adds arguments.
    """

    def build_extension(self, ext: CMakeExtension) -> None:
        if not isinstance(ext, CMakeExtension):
            return super().build_extension(ext)
        output = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(self.build_temp).resolve() / ext.name
        build.mkdir(parents=True, exist_ok=True)
        origin = "@loader_path" if sys.platform == "darwin" else "$ORIGIN"
        arguments = [
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={output}{os.sep}",
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            "-DBUILD_SHARED_LIBS=ON",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
            # Beside the module, or in the mlx package that is installed beside this one.
            f"-DCMAKE_INSTALL_RPATH={origin};{origin}/../mlx/lib",
        ]
        cmake_package = _PACKAGE / "share" / "cmake" / "MLX"
        if cmake_package.is_dir():
            arguments.append(f"-DMLX_ROOT={cmake_package}")
        arguments += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        jobs = self.parallel or os.cpu_count() or 1
        subprocess.run(["cmake", ext.sourcedir, *arguments], cwd=build, check=True)
        subprocess.run(["cmake", "--build", ".", f"-j{jobs}"], cwd=build, check=True)


class MetalLibrary:
    """Metal sources that become one ``<name>.metallib`` beside the extension module."""

    def __init__(
        self,
        name: str,
        sources: Sequence[os.PathLike[str] | str],
        *,
        extra_compile_args: Sequence[str] = (),
        deployment_target: str | None = None,
    ) -> None:
        self.name = name
        self.sources = [os.fspath(source) for source in sources]
        self.extra_compile_args = list(extra_compile_args)
        self.deployment_target = deployment_target
        if not self.sources:
            raise ValueError("MetalLibrary requires at least one Metal source file.")
        if not all(source.endswith(".metal") for source in self.sources):
            raise ValueError("MetalLibrary sources must be Metal source files.")


class MetalExtension(Extension):
    """C++ and Metal sources of one extension module.

    The ``.metal`` files among ``sources`` become a library with the module's name; ``metal_libraries`` are others.
    ``extra_compile_args`` is a list for C++, or a dictionary with the keys ``"cxx"`` and ``"metal"``.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[os.PathLike[str] | str],
        *args,
        metal_libraries: Sequence[MetalLibrary] | None = None,
        **kwargs,
    ) -> None:
        files = [os.fspath(source) for source in sources]
        metal = [file for file in files if file.endswith(".metal")]
        if len(metal) == len(files):
            raise ValueError("MetalExtension requires at least one C++ source file.")
        flags = kwargs.pop("extra_compile_args", None) or {}
        if not isinstance(flags, dict):
            flags = {"cxx": list(flags)}
        flags = {"cxx": list(flags.get("cxx", [])), "metal": list(flags.get("metal", []))}
        kwargs.setdefault("language", "c++")
        super().__init__(name, files, *args, **kwargs)
        self.extra_compile_args = flags
        self.metal_library_name = name.rpartition(".")[2]
        self.metal_libraries = list(metal_libraries or [])
        if metal:
            own = MetalLibrary(self.metal_library_name, metal, extra_compile_args=flags["metal"])
            self.metal_libraries.insert(0, own)
        if not self.metal_libraries:
            raise ValueError("MetalExtension requires at least one Metal source file.")


class BuildExtension(build_ext):
    """The ``build_ext`` command for ``MetalExtension``; other extensions are built as usual."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)

    def build_extension(self, ext: Extension) -> None:
        if isinstance(ext, MetalExtension):
            raise RuntimeError("MetalExtension needs macOS and an mlx with the Metal backend; this one has none.")
        super().build_extension(ext)

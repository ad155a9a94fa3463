"""Where the parts of the installed package are: ``python -m mlx --cmake-dir``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
PLACES = {
    "cmake-dir": ("share/cmake/MLX", "the folder of MLXConfig.cmake, for CMake's MLX_DIR"),
    "include-dir": ("include", "the folder of the C++ headers"),
    "library-dir": ("lib", "the folder of the shared library"),
}


def version() -> str:
    import mlx.core as mx

    return mx.__version__


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mlx", description=__doc__)
    for name, (_, text) in PLACES.items():
        parser.add_argument(f"--{name}", action="append_const", dest="places", const=name, help=f"print {text}")
    parser.add_argument("--version", action="store_true", help="print the version of mlx.core")
    options = parser.parse_args(arguments)
    if not options.version and not options.places:
        parser.print_help()
        return 2
    if options.version:
        print(version())
    for name in options.places or []:
        place = PACKAGE / PLACES[name][0]
        if not place.is_dir():
            print(
                f"{place} does not exist: this is a source tree, not an installed package.\n"
                "For CMake, name the build folder: -DMLX_DIR=build/mlx",
                file=sys.stderr,
            )
            return 1
        print(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())

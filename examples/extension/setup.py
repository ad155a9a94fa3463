from setuptools import setup

from mlx import extension

setup(
    name="charbonnier",
    version="0.1.0",
    packages=["charbonnier"],
    ext_modules=[extension.CMakeExtension("charbonnier._ext")],
    cmdclass={"build_ext": extension.CMakeBuild},
    zip_safe=False,
)

"""How the compiled loops are built: named in pyproject.toml, run by setuptools, never imported by gdnet.

One wheel serves every Python from 3.11 on, through the limited API. A free-threaded Python has no limited API, so
there the loops are built for that one version.
"""

import sysconfig

from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
FLAGS = {
    # Every operation is rounded by itself, as NumPy rounds it: no fused multiply-add.
    "unix": ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-g0"],
    "mingw32": ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-g0"],
    "msvc": ["/O2", "/fp:precise"],
}
"""Options by the kind of compiler."""


class BuildLoops(build_ext):
    """`build_ext` with the options of the compiler that is there."""

    def build_extensions(self) -> None:
        for extension in self.extensions:
            extension.extra_compile_args = FLAGS.get(self.compiler.compiler_type, [])
            if FREE_THREADED:
                extension.py_limited_api = False
            else:
                extension.define_macros = [("Py_LIMITED_API", "0x030B0000")]
        super().build_extensions()

    def get_ext_filename(self, fullname: str) -> str:
        if FREE_THREADED:  # the name of the file follows the extension's option, which is read before it is built
            for extension in self.extensions:
                extension.py_limited_api = False
        return super().get_ext_filename(fullname)


class Wheel(bdist_wheel):
    """`bdist_wheel` whose tag says for which Pythons the loops were built."""

    def finalize_options(self) -> None:
        if FREE_THREADED:
            self.py_limited_api = ""
        super().finalize_options()

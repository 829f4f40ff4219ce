"""Runs scripts one after the other, each in a fork of this interpreter, which has imported their package once.

It imports nothing of Cloister. Arguments: the package, then the scripts; it prints one line of JSON.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
import warnings


def run(script: str) -> str:
    """Return what the script prints, or the traceback in which it ends."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)  # of its own children too
            try:
                sys.stdout = os.fdopen(1, "w")
                runpy.run_path(script, run_name="__main__")
            except BaseException:
                sys.stdout.write("\nbroke: " + traceback.format_exc())
            finally:
                sys.stdout.flush()
                os._exit(0)
        os.waitpid(child, 0)
        output.seek(0)
        return output.read()


def main(package: str, scripts: list[str]) -> None:
    """Import the package, run the scripts, print what each said."""
    warnings.simplefilter("ignore")
    multiprocessing.set_start_method("fork", force=True)  # what CrypTen's run_multiprocess relies on
    old, new = "torch.onnx._internal.registration", "torch.onnx._internal.torchscript_exporter.registration"
    if package == "crypten":
        with contextlib.suppress(ImportError):
            sys.modules[old] = importlib.import_module(new)  # what the scripts do themselves
    importlib.import_module(package)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # a fork has one thread
    sys.stdout.write("\n" + json.dumps({script: run(script) for script in scripts}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

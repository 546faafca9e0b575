"""Runs clang-tidy over C++ sources, one per processor at a time.

    tidy.py CLANG_TIDY BUILD_FOLDER SOURCE_FILE... [-- ARGUMENT...]

Arguments go to clang-tidy. Prints what it finds, and exits 1 if there is anything.
"""
import collections
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
# With LibTorch, Clang's own standard library: with GCC's, Clang does not read the headers of LibTorch 1.13 as C++20.
# LibTorch's logging first, as where headers are precompiled: it defines CHECK too, and Catch's has to be the last. GCC's
# headers after all others, for omp.h.
GCC_HEADERS = subprocess.run(["gcc", "-print-file-name=include"], check=True, stdout=subprocess.PIPE,
                             text=True).stdout.strip()
WITH_LIBTORCH = ["-stdlib=libc++", "-include", "c10/util/Logging.h", "-idirafter", GCC_HEADERS]


def compile_flags(build):
    """Compiler flags by source; those of a source that has none, as a fuzzer, are the include path alone."""
    result = collections.defaultdict(lambda: ["-std=c++20", f"-I{ROOT}", f"-I{ROOT}/tests"])
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = iter(shlex.split(entry["command"])[1:])
        flags = []
        for word in words:
            if word in ("-o", "-c", "-MF", "-MT"):
                next(words)
            elif word != "-MD":
                flags.append(word)
        result[os.path.relpath(entry["file"], ROOT)] = flags
    return result


def main():
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    program, build, *sources = words[:end]
    arguments = words[end + 1:]
    flags_of = compile_flags(pathlib.Path(build))

    def check(source):
        flags = [*flags_of[source], "-Wno-unknown-warning-option", "-Wno-deprecated-declarations"]
        if any("torch" in flag for flag in flags):
            flags += WITH_LIBTORCH
        done = subprocess.run([program, "-quiet", *arguments, source, "--", *flags], cwd=ROOT, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        sound = done.returncode == 0 and not done.stdout.strip()
        if not sound:
            print(done.stdout + done.stderr, flush=True)
        return sound

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        sound = list(pool.map(check, sources))
    print(f"clang-tidy: {len(sources)} sources, {sound.count(False)} with findings, {time.monotonic() - begin:.0f} s")
    return 0 if all(sound) else 1


sys.exit(main())

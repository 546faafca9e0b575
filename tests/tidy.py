"""Runs clang-tidy over C++ sources, several at once: most of its time goes to the headers of LibTorch, fmt and Catch.

    tidy.py BUILD_FOLDER SOURCE_FILE...

Sources with the same compiler flags are joined to one file, unless two of them use the same name in an
anonymous namespace. If clang-tidy finds anything in a joined file, or it does not compile, its sources are read again
one by one: what is printed is always about one source as it stands. Exits 1 if there is anything to print.
"""
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MOST_LINES = 2500  # of one joined file; larger ones leave a core idle at the end
# Clang's own standard library: with GCC's, Clang 14 does not read the headers of LibTorch 1.13 as C++20. LibTorch's
# logging first, as where headers are precompiled: it defines CHECK too, and Catch's has to be the last.
FLAGS = ["-stdlib=libc++", "-include", "c10/util/Logging.h", "-Wno-unknown-warning-option"]


def own_names(text):
    """Macros, functions outside all namespaces, as main, and names at the top level of anonymous namespaces."""
    names = set(re.findall(r"^(?:#define |(?:extern \"C\" )?int )(\w+)", text, re.M))
    if "BENCHMARK_MAIN" in text:
        names.add("main")
    inside = False
    for line in text.splitlines():
        if line.startswith("namespace {"):
            inside = True
        elif line.startswith("}"):
            inside = inside and not line.startswith("}  // namespace")
        elif inside and re.match(r"(?!namespace )[\w:]", line):
            found = re.match(r"(?:struct|class|enum class|enum|using) (\w+)", line) or re.match(r".*?(\w+)\s*[({=\[]", line)
            if found:
                names.add(found.group(1))
    return names


def batches(sources, commands):
    """Lists of sources that can be read as one."""
    kinds = collections.defaultdict(list)
    for source in sources:
        kinds[source.startswith("tests/"), commands[source]].append(source)
    result = []
    for alike in kinds.values():
        open_batches = []
        for source in sorted(alike):
            text = (ROOT / source).read_text()
            names, lines = own_names(text), text.count("\n")
            for batch in open_batches:
                if not names & batch["names"] and batch["lines"] + lines <= MOST_LINES:
                    break
            else:
                batch = {"sources": [], "names": set(), "lines": 0}
                open_batches.append(batch)
            batch["sources"].append(source)
            batch["names"] |= names
            batch["lines"] += lines
        result += open_batches
    return [batch["sources"] for batch in sorted(result, key=lambda batch: -batch["lines"])]


def compile_commands(build):
    """Compiler flags by source; those of a source that has none, as a fuzzer, are the include path alone."""
    result = collections.defaultdict(lambda: f"-std=c++20 -I{ROOT} -I{ROOT}/tests")
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = iter(shlex.split(entry["command"])[1:])
        flags = []
        for word in words:
            if word in ("-o", "-c", "-MF", "-MT"):
                next(words)
            elif word != "-MD":
                flags.append(word)
        result[os.path.relpath(entry["file"], ROOT)] = shlex.join(flags)
    return result


def tidy(file, flags):
    done = subprocess.run(["clang-tidy", "-quiet", str(file), "--", *shlex.split(flags), *FLAGS], cwd=ROOT, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return "" if done.returncode == 0 and not done.stdout.strip() else done.stdout + done.stderr


def main():
    build, sources = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    commands, joined = compile_commands(build), build / "joined"
    shutil.rmtree(joined, ignore_errors=True)
    (joined / "tests").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / ".clang-tidy", joined / "tests")  # it inherits from the root's

    def read(numbered):
        number, batch = numbered
        begin = time.monotonic()
        first = pathlib.Path(batch[0]).parent
        file = joined / ("tests" if first.parts[0] == "tests" else "") / f"{'-'.join(first.parts)}-{number}.cpp"
        file.write_text("".join((ROOT / source).read_text() for source in batch))
        faults = tidy(file if len(batch) > 1 else ROOT / batch[0], commands[batch[0]])
        if faults and len(batch) > 1:
            faults = "".join(tidy(ROOT / source, commands[source]) for source in batch)
            if not faults:
                print(f"{file.name}: its sources are clean alone, but cannot be read together", flush=True)
        print(f"{time.monotonic() - begin:6.1f} s  {first}: {len(batch)} sources", flush=True)
        return faults

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = "".join(pool.map(read, enumerate(batches(sources, commands))))
    print(faults, end="")
    return 1 if faults else 0


sys.exit(main())

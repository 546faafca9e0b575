"""Runs clang-tidy over C++ sources, several at once: most of its time goes to the headers of LibTorch, fmt and Catch.

    tidy.py [--analyze] BUILD_FOLDER SOURCE_FILE...

Without --analyze the static analyzer's checks are left out, for the time they take.

Sources with the same compiler flags are joined to one file, unless two of them use the same name in an
anonymous namespace. If clang-tidy finds anything in a joined file, or it does not compile, its halves are read, and so
on: what is printed is always about one source as it stands. Exits 1 if there is anything to print.
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
ANALYZE = "--analyze" in sys.argv
MOST_LINES = 2500  # of one joined file; larger ones leave a core idle at the end
# With LibTorch, Clang's own standard library: with GCC's, Clang 14 does not read the headers of LibTorch 1.13 as C++20.
# LibTorch's logging first, as where headers are precompiled: it defines CHECK too, and Catch's has to be the last.
WITH_LIBTORCH = ["-stdlib=libc++", "-include", "c10/util/Logging.h"]


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
            found = re.match(r"(?:struct|class|enum class|enum|using) (\w+)", line)
            names.update(found.groups() if found else re.findall(r"(\w+)\s*[({=\[]", line))
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
            types, words = {name for name in names if name[0].isupper()}, set(re.findall(r"\b[A-Z]\w+", text))
            if "#define CATCH_CONFIG" in text:
                lines = MOST_LINES  # alone: it has to come before Catch's header
            for batch in open_batches:
                hides = names & batch["names"] or types & batch["words"] or words & batch["types"]
                if not hides and batch["lines"] + lines <= MOST_LINES:
                    break
            else:
                batch = {"sources": [], "names": set(), "types": set(), "words": set(), "lines": 0}
                open_batches.append(batch)
            batch["sources"].append(source)
            batch["names"] |= names
            batch["types"] |= types
            batch["words"] |= words
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
    flags = [*shlex.split(flags), "-Wno-unknown-warning-option", *(WITH_LIBTORCH if "torch" in flags else [])]
    checks = [] if ANALYZE else ["--checks=-clang-analyzer-*"]
    done = subprocess.run(["clang-tidy", "-quiet", *checks, str(file), "--", *flags], cwd=ROOT, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return "" if done.returncode == 0 and not done.stdout.strip() else done.stdout + done.stderr


def main():
    arguments = [word for word in sys.argv[1:] if word != "--analyze"]
    build, sources = pathlib.Path(arguments[0]).resolve(), arguments[1:]
    commands, joined = compile_commands(build), build / "joined"
    shutil.rmtree(joined, ignore_errors=True)
    (joined / "tests").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / ".clang-tidy", joined / "tests")  # it inherits from the root's

    def faults_of(name, batch):
        if len(batch) == 1:
            return tidy(ROOT / batch[0], commands[batch[0]])
        file = joined / ("tests" if batch[0].startswith("tests/") else "") / f"{name}.cpp"
        file.write_text("".join((ROOT / source).read_text() for source in batch))
        # One source's names may hide another's here; the compiler looks for what hides in each alone.
        joint = tidy(file, commands[batch[0]] + " -Wno-shadow")
        if not joint:
            return ""
        middle = len(batch) // 2
        alone = faults_of(name + "a", batch[:middle]) + faults_of(name + "b", batch[middle:])
        if not alone:
            print(f"cannot be read together: {batch}\n{joint}", flush=True)
        return alone

    def read(numbered):
        number, batch = numbered
        begin, folder = time.monotonic(), pathlib.Path(batch[0]).parent
        faults = faults_of(f"{'-'.join(folder.parts)}-{number}", batch)
        print(f"{faults}{time.monotonic() - begin:6.1f} s  {folder}: {len(batch)} sources", flush=True)
        return bool(faults)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return 1 if any(list(pool.map(read, enumerate(batches(sources, commands))))) else 0


sys.exit(main())

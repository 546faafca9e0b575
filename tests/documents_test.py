"""README.md and docs/ are right: their commands run, their links lead somewhere, their tables agree with the program.

    documents_test.py SOURCE_ROOT PROGRAM

Commands are the lines of the fenced blocks that follow `<!-- test: run these -->`. They run in order, document after
document, in one temporary folder. A comment on the line says which exit codes are right, as in `# exit 1: ...` or
`# exit 0 or 3: ...`; without one it is 0. A block after `<!-- test: output -->` holds lines that the last command
before it prints, in this order; numbers may differ, "…" is anything, and what follows `  # ` is a remark.

Names of checks after the program, as in `links tables`, choose some of them.
"""
import collections
import gzip
import io
import itertools
import json
import os
import pathlib
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import types
import zipfile

LONGEST_README = 150
CODE = ("models", "attacks", "defenses", "reports", "audit", "tests", "cmake", "findings")
CODE_FILES = re.compile(r"\.(h|cpp|py|txt|cmake|sh|html|js)$")
RUN = "<!-- test: run these -->"
OUTPUT = "<!-- test: output -->"
PROGRAM = "build/release/afterimage"
MODEL = '{"architecture"'  # how README's model.json begins
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def documents(root):
    found = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "findings/README.md")]
    return [path for path in found if path.exists()] + sorted((root / "docs").glob("*.md"))


def code_files(root):
    for folder in CODE:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and (CODE_FILES.search(path.name) or path.name in ("demo", "run", "lint")):
                if path.relative_to(root).parts[:2] != ("tests", "data"):
                    yield path


# A document in parts: fenced blocks with the marker before each, and the lines outside of them.
Block = collections.namedtuple("Block", "marker lines")


def parts(text):
    blocks, prose, marker, fence = [], [], "", None
    for line in text.splitlines():
        if line.startswith("```"):
            if fence is None:
                fence = []
            else:
                blocks.append(Block(marker, fence))
                fence, marker = None, ""
        elif fence is not None:
            fence.append(line)
        else:
            prose.append(line)
            if line.strip():
                marker = line.strip()
    return blocks, prose


def slug(heading):
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.strip()).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def headings(text):
    return [match[1] for line in parts(text)[1] if (match := re.match(r"#+\s+(.*)", line))]


def cells(row):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip())[1:-1]]


def tables(text):
    """Lists of rows of cells, the header first and without the line below it."""
    rows = []
    for line in parts(text)[1] + [""]:
        if line.startswith("|"):
            rows.append(line)
        elif rows:
            yield [cells(rows[0])] + [cells(row) for row in rows[2:]], rows
            rows = []


def commands_in(text):
    """(command, exit codes, lines that it has to print), in order."""
    found = []
    for block in parts(text)[0]:
        if block.marker == OUTPUT:
            lines = [line.split("  # ")[0].rstrip() for line in block.lines]
            found[-1] = found[-1][:2] + (lines,)
        elif block.marker == RUN:
            for line in block.lines:
                codes = re.search(r"#\s*exit (\d+)(?: or (\d+))?", line)
                found.append((line.split("#")[0].strip(), [int(c) for c in codes.groups() if c] if codes else [0], []))
    return found


# Checks that need no run. Each yields faults.

def check_length(root, _program):
    count = len((root / "README.md").read_text().splitlines())
    if count > LONGEST_README:
        yield f"README.md has {count} lines, more than {LONGEST_README}"


def check_commands_are_tested(root, _program):
    for path in documents(root):
        text = path.read_text()
        tested = {line for block in parts(text)[0] if block.marker == RUN for line in block.lines}
        for line in text.splitlines():
            if line.lstrip().startswith(PROGRAM + " ") and line not in tested:
                yield f"{path.name}: no test runs: {line}"
        for script in re.findall(r"^(?:audit|tests)/\w+$", text, re.M):
            if not os.access(root / script, os.X_OK):
                yield f"{path.name}: {script} cannot be run"


def check_links(root, _program):
    for path in documents(root):
        prose = re.sub(r"`[^`]*`", "", "\n".join(parts(path.read_text())[1]))
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"\w+://", target):
                continue
            file, _, anchor = target.partition("#")
            place = path.parent / file if file else path
            if not place.exists():
                yield f"{path.name}: link to {target}, which is not there"
            elif anchor and anchor not in map(slug, headings(place.read_text())):
                yield f"{path.name}: link to {target}, which has no such heading"


def check_paths(root, _program):
    """Files of the repository that documents name."""
    file = re.compile(rf"(?<![\w/.])(?:{'|'.join(CODE)}|docs)/[\w./-]+\.(?:h|cpp|py|md|json|png|sh)\b")
    for path in documents(root):
        if path.name == "CHANGELOG.md":
            continue
        for name in set(file.findall(path.read_text())):
            if "NAME" not in name and not (root / name).exists() and not (path.parent / name).exists():
                yield f"{path.name}: names {name}, which is not there"


def check_tables(root, _program):
    for path in documents(root):
        for table, rows in tables(path.read_text()):
            if not re.fullmatch(r"[|\s:-]+", rows[1]) or len(cells(rows[1])) != len(table[0]):
                yield f"{path.name}: no line of {len(table[0])} dashes below the header {rows[0]}"
            for row in table[1:]:
                if len(row) != len(table[0]):
                    yield f"{path.name}: {len(row)} cells below a header of {len(table[0])}: {' | '.join(row)}"


def check_exit_codes(root, _program):
    found = {path.name: {row[0]: row[1] for row in table[1:]} for path in documents(root)
             for table, _ in tables(path.read_text()) if table[0][0] == "code"}
    if not {"README.md", "report.md"} <= set(found):
        yield f"README.md and docs/report.md need a table of exit codes; there are some in {sorted(found)}"
    for name, codes in found.items():
        if codes != found.get("report.md"):
            yield f"{name}: its exit codes differ from those of docs/report.md"


def properties(schema, root, path=""):
    """Paths of all properties, as docs/report.md writes them: a.b, a[].b, and NAME for any name."""
    if schema.get("$ref") and path:
        return
    for branch in itertools.chain([schema], schema.get("oneOf", []), schema.get("anyOf", [])):
        for name, value in branch.get("properties", {}).items():
            inner = f"{path}.{name}" if path else name
            below = list(properties(value, root, inner))
            yield from below or [inner]
        if isinstance(branch.get("items"), dict):
            if branch["items"].get("type") == "object" or branch["items"].get("properties"):
                yield from properties(branch["items"], root, path + "[]")
            else:
                yield path + "[]"
        if isinstance(branch.get("additionalProperties"), dict) and "$ref" not in branch["additionalProperties"]:
            below = list(properties(branch["additionalProperties"], root, path + ".NAME"))
            yield from below or [path + ".NAME"]


def check_fields(root, _program):
    text = (root / "docs/report.md").read_text()
    sections = {section.split("\n")[0].lower(): section for section in re.split(r"^## ", text, flags=re.M)[1:]}
    for schema, heading in (("report-1", "report.json"), ("comparison-1", "comparison.json"), ("policy-1", "policy")):
        document = json.loads((root / f"reports/schema/{schema}.json").read_text())
        named = set(re.findall(r"`([^`]+)`", sections.get(heading, "")))
        wanted = set(properties(document, document))
        for name, definition in document.get("$defs", {}).items():
            wanted |= set(properties(definition, document, name))
        for path in sorted(wanted - named):
            yield f"docs/report.md, {heading}: says nothing of `{path}`, which is in reports/schema/{schema}.json"
        fields = re.findall(r"^\| `([^`|]+)`", sections.get(heading, ""), re.M)
        roots = {path.split(".")[0].split("[")[0] for path in wanted}
        for field in fields:
            if field.split(".")[0].split("[")[0] not in roots:
                yield f"docs/report.md, {heading}: has `{field}`, which is not in reports/schema/{schema}.json"


def check_references(root, _program):
    reference = re.compile(r"docs/([\w-]+\.md)(?:,\s*(?:section\s+(\d+)|([a-z][a-z ]*)\)))?")
    for path in code_files(root):
        if path.name == "documents_test.py":
            continue
        text = re.sub(r"\n[ \t]*(?://|#)?[ \t]*", " ", path.read_text())
        name = path.relative_to(root)
        for document, section, heading in reference.findall(text):
            target = root / "docs" / document
            if not target.exists():
                yield f"{name}: refers to docs/{document}, which is not there"
            elif section and not any(re.match(rf"{section} ", title) for title in headings(target.read_text())):
                yield f"{name}: refers to docs/{document}, section {section}, which is not there"
            elif heading and heading not in [title.lower() for title in headings(target.read_text())]:
                yield f"{name}: refers to \"{heading}\" of docs/{document}, which is not there"
        for word in set(re.findall(r"\b(?:METHODS|CONTRACT|DEFENSES)\b", text)):
            yield f"{name}: refers to {word}, which is no document of the repository"


def check_json(root, _program):
    policy = json.loads((root / "tests/data/policy.json").read_text())
    for path in documents(root):
        for block in parts(path.read_text())[0]:
            text = "\n".join(block.lines)
            if not re.match(r'\{\s*"', text):
                continue
            try:
                document = json.loads(text)
            except ValueError as error:
                yield f"{path.name}: JSON that cannot be read ({error}): {block.lines[0]}"
                continue
            if document.get("schema") == "afterimage.policy/1" and not document.items() <= policy.items():
                yield f"{path.name}: the policy is not that of tests/data/policy.json"


# Checks of what the program says of itself.

def said(program, *words):
    return subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout


def check_names(root, program):
    """Attacks and defences, as `attack list` has them."""
    attacks, defences = said(program, "attack", "list").split("\ndefences ")
    names = {"attack": re.findall(r"^([a-z]\S*)", attacks, re.M), "defence": re.findall(r"^([a-z]\S*)", defences, re.M)}
    for document, heading, kind in (("README.md", "attack", "attack"), ("docs/commands.md", "defence", "defence")):
        found = [table for table, _ in tables((root / document).read_text()) if table[0][0] == heading]
        listed = [row[0] for row in found[0][1:]] if found else []
        if sorted(listed) != sorted(names[kind]):
            yield f"{document}: its table names {listed}, the program {names[kind]}"


def check_version(root, program):
    version = said(program, "--version").split()[-1]
    releases = re.findall(r"^## (.*)$", (root / "CHANGELOG.md").read_text(), re.M)
    if not releases or not all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d{2}-\d{2}\)", release) for release in releases):
        yield f"CHANGELOG.md: sections have to be as in \"0.2.0 (2026-11-29)\", and are {releases}"
    elif releases[0].split()[0] != version:
        yield f"CHANGELOG.md: begins with {releases[0]}, but the program is {version}"


def check_options(root, program):
    """Options that documents name in code marks, as in `--resume`."""
    named = collections.defaultdict(list)
    for path in documents(root):
        if path.name not in ("CHANGELOG.md", "benchmarks.md"):
            for option in re.findall(r"`(--[a-z][a-z-]*)", "\n".join(parts(path.read_text())[1])):
                named[option].append(path.name)
    top = said(program, "--help")
    pages = itertools.chain([top], (said(program, name, "--help") for name in
                                    re.findall(r"^  ([a-z]+) ", top.split("Subcommands:")[1], re.M)))
    for page in pages:
        for option in set(re.findall(r"--[a-z][a-z-]*", page)):
            named.pop(option, None)
        if not named:
            return
    for option, where in named.items():
        yield f"{', '.join(sorted(set(where)))}: {option} is an option of no command"


# What a PyTorch script would leave for README's own checkpoint, made without PyTorch and NumPy.

def state_dict_bytes(tensors):
    """As torch.save(state_dict) writes it: {name: (shape, float32 bytes)}."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

    def rebuild(*arguments):
        raise NotImplementedError
    rebuild.__module__, rebuild.__name__, rebuild.__qualname__ = "torch._utils", *["_rebuild_tensor_v2"] * 2
    utils._rebuild_tensor_v2 = rebuild

    class Storage:
        def __init__(self, key, count):
            self.identity = ("storage", torch.FloatStorage, key, "cpu", count)

    class Tensor:
        def __init__(self, storage, shape):
            strides = [1]
            for size in reversed(shape[1:]):
                strides.insert(0, strides[0] * size)
            self.arguments = (storage, 0, tuple(shape), tuple(strides), False, collections.OrderedDict())

        def __reduce__(self):
            return rebuild, self.arguments

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.identity if isinstance(value, Storage) else None

    content, archive = io.BytesIO(), io.BytesIO()
    entries = collections.OrderedDict()
    for key, (name, (shape, raw)) in enumerate(tensors.items()):
        entries[name] = Tensor(Storage(str(key), len(raw) // 4), shape)
    sys.modules.update({"torch": torch, "torch._utils": utils})
    Pickler(content, protocol=2).dump(entries)
    del sys.modules["torch"], sys.modules["torch._utils"]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        out.writestr("archive/data.pkl", content.getvalue())
        for key, (_, raw) in enumerate(tensors.values()):
            out.writestr(f"archive/data/{key}", raw)
        out.writestr("archive/version", "3\n")
    return archive.getvalue()


def safetensors(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    header.pop("__metadata__", None)
    return {name: (entry["shape"], raw[8 + length:][slice(*entry["data_offsets"])]) for name, entry in header.items()}


def npy(kind, shape, raw):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + raw


def prepare(root, folder, program):
    """initial.pt, trained.pt, model.json, training.npz and control.npz, of a network that the program trains."""
    blocks = ["\n".join(block.lines) for block in parts((root / "README.md").read_text())[0]]
    model = next(text for text in blocks if text.startswith(MODEL))
    (folder / "model.json").write_text(model)
    described, run = json.loads(model), folder / "prepared"
    said(program, "--quiet", "train", "--data", "fashion-mnist", "--task", described["task"], "--samples", "10",
         "--architecture", described["architecture"], "--out", run)
    for name in ("initial", "trained"):
        layers = {f"{2 * int(re.search(r'[0-9]+', key)[0]) - 2}.{key.split('.')[1]}": value
                  for key, value in safetensors(run / f"{name}.safetensors").items()}
        (folder / f"{name}.pt").write_bytes(state_dict_bytes(layers))
    shutil.copy(run / "training-set.npz", folder / "training.npz")
    shutil.rmtree(run)
    count = 200
    images = gzip.decompress((FASHION / "t10k-images-idx3-ubyte.gz").read_bytes())[16:16 + count * 784]
    labels = gzip.decompress((FASHION / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:8 + count]
    with zipfile.ZipFile(folder / "control.npz", "w") as out:
        out.writestr("images.npy", npy("|u1", [count, 28, 28], images))
        out.writestr("labels.npy", npy("|u1", [count], labels))


def without_numbers(line):
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", line).strip()


def is_printed(line, printed):
    """Takes lines from `printed` up to one like it; "…" stands for anything."""
    pattern = ".*".join(map(re.escape, map(without_numbers, line.split("…"))))
    return any(re.fullmatch(pattern, without_numbers(other)) for other in printed)


def check_runs(root, program):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "build").mkdir()
        os.symlink(program.parent, folder / "build" / "release")
        os.symlink(root / "tests", folder / "tests")
        prepare(root, folder, program)
        seconds = 0
        for path in documents(root):
            for command, codes, lines in commands_in(path.read_text()):
                start = time.monotonic()
                result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
                took = time.monotonic() - start
                seconds += took
                print(f"{took:6.1f} s  exit {result.returncode}  {command}", flush=True)
                if result.returncode not in codes:
                    yield (f"{path.name}: exit {result.returncode} where {codes} is right: {command}\n"
                           f"{result.stdout}{result.stderr}")
                printed = iter(result.stdout.splitlines())
                for line in lines:
                    if not is_printed(line, printed):
                        yield f"{path.name}: {command}\n  does not print, here or at all: {line}\n{result.stdout}"
                        break
        print(f"{seconds:6.1f} s  all commands")


CHECKS = [check_length, check_commands_are_tested, check_links, check_paths, check_tables, check_exit_codes,
          check_fields, check_references, check_json, check_names, check_version, check_options, check_runs]


def main():
    root, program = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    chosen = [check for check in CHECKS if not sys.argv[3:] or check.__name__.removeprefix("check_") in sys.argv[3:]]
    faults = [f"{check.__name__}: {fault}" for check in chosen for fault in check(root, program)]
    for fault in faults:
        print(f"FAULT {fault}")
    sys.exit(1 if faults else 0)


main()

"""Runs the libFuzzer targets, each for a share of SECONDS, starting from files of the test suite and valid ones made here.

    fuzz.py FOLDER-OF-TARGETS SECONDS [TARGET ...]

Ten minutes each: fuzz.py build/release/tests/fuzz 4800, or 600 and one target at a time.
Exits 77 (skipped) where they were not built. Inputs on which a target fails are kept in FOLDER-OF-TARGETS.
"""
import gzip
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

DATA = pathlib.Path(__file__).parents[1] / "data"


def safetensors(tensors, data):
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + data


def seeds(target):
    if target == "pytorch":
        for file in [*sorted(DATA.glob("pytorch/*/*.pt")), *sorted(DATA.glob("released/*/*.pt"))]:
            yield file.read_bytes()
            if zipfile.is_zipfile(file) and file.stem != "no-crc32":  # whose checksums zipfile refuses
                archive = zipfile.ZipFile(file)
                yield from (archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
    if target == "npz":
        for file in [*sorted(DATA.glob("pytorch/2.13/*.npz")), *sorted(DATA.glob("released/numpy-2*/*.npz"))]:
            yield file.read_bytes()
            archive = zipfile.ZipFile(file)
            yield from (archive.read(name) for name in archive.namelist()[:3])
    if target == "safetensors":
        yield from (file.read_bytes() for file in sorted(DATA.glob("released/safetensors-0.8*/*.safetensors")))
        tensor = {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}
        yield safetensors({"w": tensor, "__metadata__": {"format": "pt"}}, bytes(8))
        yield safetensors({"w": tensor, "b": {"dtype": "BF16", "shape": [3], "data_offsets": [8, 14]}}, bytes(14))
    if target == "idx":
        images = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(12)
        yield from (images, gzip.compress(images), bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]))
    if target == "image":
        for file in sorted(DATA.glob("images/*.*g")):
            yield file.read_bytes()
        for kind in range(8):
            yield bytes([7, 7, 3, kind, kind % 2, 1]) + bytes(range(48)) + bytes(range(5)) * 60
    if target == "csv":
        yield from (b"0.5,1\n0,7\n", b"label,p\n5,255\n0,51", b"5,0,255\n0,51,0\n5,7,1\n", b"id,y,a\n0,a,.5\n1,b,1\n")
        yield b'\xef\xbb\xbf"x, y",label,z\r\n"0.5", "a ""b""" ,+1e-2\r\n\r\n1,,0\r\n'
    if target == "cifar":
        yield from (bytes(3073), bytes([9]) + bytes(3072) + bytes([10]) + bytes(3072), bytes([0, 99]) + bytes(3072))
    if target == "json":
        yield (DATA / "policy.json").read_bytes()
        yield b'{"a": [1, -2.5e3, true, null, "\\u00e9"], "b": {"c": {}}}'


def run(folder, target, seconds):
    with tempfile.TemporaryDirectory() as temporary:
        corpus = pathlib.Path(temporary) / "corpus"
        corpus.mkdir()
        for number, content in enumerate(seeds(target)):
            (corpus / str(number)).write_bytes(content)
        done = subprocess.run(
            [folder / f"fuzz_{target}", corpus, f"-max_total_time={seconds}", "-max_len=16384", "-timeout=10",
             "-malloc_limit_mb=96", "-rss_limit_mb=1024", f"-artifact_prefix={folder}/{target}-", "-print_final_stats=1"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, "TMPDIR": temporary}, check=False)
    lines = done.stdout.splitlines()
    if done.returncode != 0:
        print("\n".join(lines[-60:]))
    runs = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "no")
    print(f"{target}: {runs} inputs, {'found a fault' if done.returncode else 'clean'}")
    return done.returncode == 0


def main():
    folder, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    targets = sys.argv[3:] or ["pytorch", "npz", "safetensors", "idx", "json", "image", "csv", "cifar"]
    if not all((folder / f"fuzz_{target}").exists() for target in targets):
        print("skipped: the fuzzers need clang and its libFuzzer (Debian: clang, libclang-rt-14-dev)")
        return 77
    return 0 if all([run(folder, target, max(1, seconds // len(targets))) for target in targets]) else 1


sys.exit(main())

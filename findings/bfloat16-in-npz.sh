#!/usr/bin/env bash
# Expected: numpy.savez of bfloat16 weights (ml_dtypes, as JAX and Flax use) keeps their type, or refuses to write them.
# Happens: it writes them without a word as two raw bytes each ("V2"), and float8_e4m3fn as one ("V1"). numpy.load gives
# void arrays on which no arithmetic works, and the file does not say which format they had. float8_e5m2 is written
# too, as "<f1", and numpy.load then raises ValueError on the file that numpy.savez wrote.
# Versions: numpy 2.3.5, ml_dtypes 0.5.4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet install numpy==2.3.5 ml_dtypes==0.5.4
cd "$folder"
venv/bin/python - <<'PYTHON'
import ml_dtypes
import numpy

weights = numpy.linspace(-1, 1, 6).reshape(2, 3)
for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
    numpy.savez(f"{name}.npz", weights=weights.astype(getattr(ml_dtypes, name)))
for name, raw in (("bfloat16", "|V2"), ("float8_e4m3fn", "|V1")):
    read = numpy.load(f"{name}.npz")["weights"]
    print(name, "is read as", read.dtype.str)
    assert read.dtype.str == raw, "the type is kept now"
    try:
        read + 1
        raise SystemExit(f"{name}: arithmetic works now")
    except TypeError:
        pass
try:
    numpy.load("float8_e5m2.npz")["weights"]
    raise SystemExit("float8_e5m2 can be read now")
except ValueError as error:
    print("float8_e5m2 is written, and refused when read:", error)
PYTHON

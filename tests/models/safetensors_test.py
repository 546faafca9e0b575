"""Safetensors files written here are read by the Python package of that name, and files that it writes are read here.

    python3 tests/models/safetensors_test.py PROGRAM

Needs numpy and safetensors; exits 77 (skipped) without them.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)


def main():
    program, folder = sys.argv[1], pathlib.Path(tempfile.mkdtemp())

    def run(*arguments):
        return subprocess.run([program, "--quiet", *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    own = folder / "run"
    run("train", "--data", "fashion-mnist", "--task", "odd-even", "--samples", 8, "--architecture", "mlp:64,32", "--out", own)
    shapes = {"fc1.weight": (64, 784), "fc1.bias": (64,), "fc2.weight": (32, 64), "fc2.bias": (32,), "fc3.weight": (1, 32), "fc3.bias": (1,)}
    weights = {name: load_file(own / f"{name}.safetensors") for name in ("initial", "trained")}
    for name, tensors in weights.items():
        assert {key: tensor.shape for key, tensor in tensors.items()} == shapes, f"{name}: {tensors.keys()}"
        assert all(tensor.dtype == numpy.float32 and numpy.isfinite(tensor).all() for tensor in tensors.values())
    # The tensors are those of training: the network fits its training images.
    data, model = numpy.load(own / "training-set.npz"), weights["trained"]
    below = data["images"].reshape(8, -1)
    for layer in (1, 2, 3):
        below = below @ model[f"fc{layer}.weight"].T + model[f"fc{layer}.bias"]
        below = numpy.maximum(below, 0) if layer < 3 else below
    assert numpy.abs(numpy.abs(below[:, 0]) - 1).max() < 0.01, below[:, 0]

    # The package's own files, in another order and with metadata: the same finding.
    again = folder / "again"
    again.mkdir()
    for name, tensors in weights.items():
        save_file(dict(reversed(list(tensors.items()))), again / f"{name}.safetensors", metadata={"format": "np"})
        with safe_open(again / f"{name}.safetensors", "numpy") as file:
            assert file.metadata() == {"format": "np"}
    for name in ("model.json", "training-set.npz", "training.json"):
        (again / name).write_bytes((own / name).read_bytes())
    assert "fc1.weight" in run("inspect", again / "trained.safetensors")
    findings = []
    for source in (own, again):
        run("audit", source, "--attacks", "span,vertices", "--out", folder / f"report-{source.name}")
        findings.append(json.loads((folder / f"report-{source.name}" / "report.json").read_text())["findings"])
    assert findings[0] == findings[1], "another finding from the same weights"
    print("safetensors: read and written both ways")


main()

"""Shared by the scripts here: networks that the program trains, and its audits of them, in a temporary folder."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import numpy


def arguments(**defaults):
    """The program, --mnist for the folder of MNIST's IDX files, and an option for each default, of its type."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--mnist")
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


class Program:
    def __init__(self, path, mnist=None, task="odd-even"):
        self.path, self.task = path, task
        self.data = "fashion-mnist"
        if mnist:
            self.data = f"idx:{mnist}/train-images-idx3-ubyte,{mnist}/train-labels-idx1-ubyte"
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)

    def run(self, *arguments):
        return subprocess.run([self.path, "--quiet", *map(str, arguments)], capture_output=True, text=True, check=False)

    def measured(self, *arguments):
        """Exit code, seconds, and MiB that the program held at most."""
        command = [self.path, "--quiet", *map(str, arguments)]
        null = os.open(os.devnull, os.O_WRONLY)
        start = time.monotonic()
        child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
        _, status, usage = os.wait4(child, 0)
        os.close(null)
        return os.waitstatus_to_exitcode(status), time.monotonic() - start, usage.ru_maxrss / 1024

    def train(self, name, samples, architecture, *options, data=None, task=None):
        """A run directory, or None where training failed."""
        out = self.folder / name
        result = self.run("train", "--data", data or self.data, "--task", task or self.task, "--samples", samples,
                          "--architecture", architecture, "--out", out, *options)
        return out if result.returncode == 0 else None

    def audit(self, run, *options):
        """Exit code and report."""
        out = self.folder / f"report-{len(list(self.folder.iterdir()))}"
        result = self.run("audit", run, "--out", out, *options)
        if not (out / "report.json").exists():
            raise SystemExit(f"audit of {run}: exit {result.returncode}, {result.stderr}")
        return result.returncode, json.loads((out / "report.json").read_text())

    def write_npz(self, name, **arrays):
        """DATA of a file with these arrays."""
        numpy.savez(self.folder / name, **arrays)
        return f"npz:{self.folder / name}"

    def swapped(self, run, other, name):
        """The network of `run` with the training images of `other`, prepared as its own: it was not trained on them."""
        out = self.folder / name
        shutil.copytree(run, out)
        mine, theirs = numpy.load(run / "training-set.npz"), numpy.load(other / "training-set.npz")
        images = theirs["images"] + theirs["mean"] - mine["mean"]
        numpy.savez(out / "training-set.npz", images=images.astype(numpy.float32), labels=theirs["labels"],
                    mean=mine["mean"])
        return out


def pixels_of(run):
    """The training images of a run before the mean was subtracted, and their labels."""
    stored = numpy.load(run / "training-set.npz")
    return (stored["images"] + stored["mean"]).clip(0, 1).astype(numpy.float32), stored["labels"]


def findings(report):
    return {finding["attack"]: finding for finding in report["findings"]}


def strongest(report):
    """The finding that reconstructed most, or None where no attack made images."""
    made = [finding for finding in report["findings"] if finding["reconstructed"]]
    return max(made, key=lambda finding: finding["reconstructed"]["count"], default=None)


def within(finding, distance):
    return sum(sample["relative_distance"] is not None and sample["relative_distance"] < distance
               for sample in finding["samples"])

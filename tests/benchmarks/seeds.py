"""Do verdicts hold over seeds, and is an innocent network found innocent?

For each seed: trains a network on Fashion-MNIST (or MNIST, given its folder of IDX files), audits it under a policy, and audits
it once more against images that it never saw, prepared as its own were. Prints a line a seed and the extremes.

    python3 tests/benchmarks/seeds.py build/release/afterimage [--mnist DIR] [--seeds 10] [--samples 20] [--width 512]

Needs numpy.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

import numpy

POLICY = {"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.05, "max_membership_tpr_at_1pct_fpr": 0.1}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--mnist")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    data = "fashion-mnist"
    if options.mnist:
        data = f"idx:{options.mnist}/train-images-idx3-ubyte,{options.mnist}/train-labels-idx1-ubyte"
    policy = folder / "policy.json"
    policy.write_text(json.dumps(POLICY))

    def run(*arguments):
        return subprocess.run([options.program, "--quiet", *map(str, arguments)], capture_output=True, text=True).returncode

    def audit(run_folder, seed, name):
        code = run("audit", run_folder, "--seed", seed, "--policy", policy, "--out", folder / name)
        return code, json.loads((folder / name / "report.json").read_text())

    def within(finding, distance):
        return sum(sample["relative_distance"] is not None and sample["relative_distance"] < distance for sample in finding["samples"])

    guilty, innocent = [], []
    for seed in range(options.seeds):
        own, other = folder / f"run{seed}", folder / f"other{seed}"
        width = f"mlp:{options.width},{options.width}"
        for target, chosen in ((own, seed), (other, seed + 1000)):
            steps = [] if target is own else ["--steps", 1]
            run("train", "--data", data, "--task", "odd-even", "--samples", options.samples, "--architecture", width,
                "--seed", chosen, "--out", target, *steps)
        code, report = audit(own, seed, f"guilty{seed}")
        span, vertices, finite = report["findings"]
        guilty.append((code, finite["reconstructed"]["count"], finite["control"]["rate"], finite["mean_relative_distance"]))
        line = (f"seed {seed}: exit {code}, {report['verdict']}; span AUC {span['membership']['auc']:.4f}; reconstructed "
                f"{finite['reconstructed']['count']} of {finite['reconstructed']['of']}, control {finite['control']['rate']:.3f}, "
                f"mean L2 {finite['mean_relative_distance']:.4f}, within 0.1 {within(finite, 0.1)}, within 0.05 "
                f"{within(finite, 0.05)}, confirmed {finite['confirmed']}, {finite['status']}; vertices alone "
                f"{(vertices['reconstructed'] or {'count': 0})['count']}; seconds {report['timing']['attacks']}")

        # The network's own run with the images of another: same mean, never trained on.
        swapped = folder / f"swapped{seed}"
        shutil.copytree(own, swapped)
        mine, theirs = numpy.load(own / "training-set.npz"), numpy.load(other / "training-set.npz")
        images = theirs["images"] + theirs["mean"] - mine["mean"]
        numpy.savez(swapped / "training-set.npz", images=images.astype(numpy.float32), labels=theirs["labels"], mean=mine["mean"])
        _, report = audit(swapped, seed, f"innocent{seed}")
        span, vertices, finite = report["findings"]
        innocent.append((finite["reconstructed"]["count"], span["membership"]["auc"], finite["membership"]["auc"]))
        print(f"{line}\n   never seen: reconstructed {innocent[-1][0]}, AUC span {innocent[-1][1]:.3f}, finite-width "
              f"{innocent[-1][2]:.3f}", flush=True)
    counts = [count for _, count, _, _ in guilty]
    print(f"verdicts: {sorted({code for code, *_ in guilty})}; reconstructed {min(counts)} to {max(counts)}; control at most "
          f"{max(control for _, _, control, _ in guilty):.3f}; mean L2 at most {max(mean for *_, mean in guilty):.3f}")
    print(f"never seen: reconstructed at most {max(count for count, *_ in innocent)}, mean AUC span "
          f"{numpy.mean([auc for _, auc, _ in innocent]):.3f}, finite-width {numpy.mean([auc for *_, auc in innocent]):.3f}")
    shutil.rmtree(folder)


main()

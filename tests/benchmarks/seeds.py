"""Do verdicts agree over seeds, and does an audit against images that were not trained on find none?

For each seed: trains a network on Fashion-MNIST (or MNIST, given its folder of IDX files), audits it under a policy, and audits
it once more against images that it was not trained on, prepared as its own. Prints a line a seed and the extremes.

    python3 tests/benchmarks/seeds.py build/release/afterimage [--mnist DIR] [--seeds 10] [--first 0] [--samples 20] [--width 512]

Needs numpy.
"""
import json

import numpy
from program import Program, arguments, findings, within

POLICY = {"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.05, "max_membership_tpr_at_1pct_fpr": 0.1}


def main():
    options = arguments(seeds=10, first=0, samples=20, width=512)
    program = Program(options.program, options.mnist)
    policy = program.folder / "policy.json"
    policy.write_text(json.dumps(POLICY))
    architecture = f"mlp:{options.width},{options.width}"

    guilty, innocent = [], []
    for seed in range(options.first, options.first + options.seeds):
        own = program.train(f"own{seed}", options.samples, architecture, "--seed", seed)
        other = program.train(f"other{seed}", options.samples, architecture, "--seed", seed + 1000, "--steps", 1)
        code, report = program.audit(own, "--seed", seed, "--policy", policy)
        found = findings(report)
        span, vertices, finite = (found[name] for name in ("span", "vertices", "finite-width"))
        guilty.append((code, finite["reconstructed"]["count"], finite["control"]["rate"], finite["mean_relative_distance"]))
        line = (f"seed {seed}: exit {code}, {report['verdict']}; span AUC {span['membership']['auc']:.4f}; reconstructed "
                f"{finite['reconstructed']['count']} of {finite['reconstructed']['of']}, control {finite['control']['rate']:.3f}, "
                f"mean L2 {finite['mean_relative_distance']:.4f}, within 0.1 {within(finite, 0.1)}, within 0.05 "
                f"{within(finite, 0.05)}, confirmed {finite['confirmed']}, {finite['status']}; vertices alone "
                f"{(vertices['reconstructed'] or {'count': 0})['count']}; seconds {report['timing']['attacks']}")

        _, report = program.audit(program.swapped(own, other, f"swapped{seed}"), "--seed", seed, "--policy", policy)
        found = findings(report)
        finite = found["finite-width"]
        innocent.append((finite["reconstructed"]["count"], found["span"]["membership"]["auc"], finite["membership"]["auc"]))
        print(f"{line}\n   never seen: reconstructed {innocent[-1][0]}, AUC span {innocent[-1][1]:.3f}, finite-width "
              f"{innocent[-1][2]:.3f}", flush=True)
    counts = [count for _, count, _, _ in guilty]
    print(f"verdicts: {sorted({code for code, *_ in guilty})}; reconstructed {min(counts)} to {max(counts)}; control at most "
          f"{max(control for _, _, control, _ in guilty):.3f}; mean L2 at most {max(mean for *_, mean in guilty):.3f}")
    print(f"never seen: reconstructed at most {max(count for count, *_ in innocent)}, mean AUC span "
          f"{numpy.mean([auc for _, auc, _ in innocent]):.3f}, finite-width {numpy.mean([auc for *_, auc in innocent]):.3f}")


main()

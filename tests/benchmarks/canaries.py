"""Whether what canaries show of epsilon stays below what DP-SGD claims, and how near it comes where there is no noise.

    python3 tests/benchmarks/canaries.py build/release/afterimage [--epsilons none,8,1] [--runs 20] [--first 11]
        [--samples 750] [--canaries 500] [--steps 100] [--attacks loss,tangent-membership]

Fashion-MNIST, ten classes, a network of one hidden layer of 128. For each epsilon (none: plain training by Adam) and run:
the bound of each attack and its ceiling. A line for each epsilon: mean and largest bound, in how many runs it is above
the claim, the mean of the ceilings, and test accuracy.
"""
import json
import statistics

from program import Program, arguments, findings

DP = ["--defense", "dp-sgd", "--learning-rate", 0.1]
PLAIN = ["--optimizer", "adam", "--batch", 32]


def main():
    options = arguments(epsilons="none,8,1", runs=20, first=11, samples=750, canaries=500, steps=100,
                        attacks="loss,tangent-membership")
    program = Program(options.program, task="multiclass")
    print("epsilon  attack               mean bound  largest  above the claim  mean ceiling  test accuracy")
    for epsilon in options.epsilons.split(","):
        bounds, accuracies = {name: [] for name in options.attacks.split(",")}, []
        for seed in range(options.first, options.first + options.runs):
            how = PLAIN + ["--steps", 10 * options.steps] if epsilon == "none" else \
                DP + ["--steps", options.steps, "--defense-option", f"epsilon={epsilon}"]
            run = program.train(f"{epsilon}-{seed}", options.samples, "mlp:128", "--loss", "cross-entropy", "--canaries",
                                options.canaries, "--mean", "public", "--seed", seed, *how)
            if run is None:
                raise SystemExit(f"training failed: epsilon {epsilon}, seed {seed}")
            accuracies.append(json.loads((run / "training.json").read_text())["test_accuracy"])
            found = findings(program.audit(run, "--canaries", "--attacks", options.attacks)[1])
            for name, values in bounds.items():
                values.append(found[name]["membership"]["epsilon_lower_bound"])
        for name, values in bounds.items():
            shown = [value["value"] for value in values]
            above = "-" if epsilon == "none" else sum(value > float(epsilon) for value in shown)
            print(f"{epsilon:>7}  {name:20} {statistics.mean(shown):10.2f} {max(shown):8.2f} {above!s:>16} "
                  f"{statistics.mean(value['ceiling'] for value in values):13.2f} {statistics.mean(accuracies):14.3f}",
                  flush=True)


main()

"""Tasks learned in turn: how accurate, forgetful and calibrated GVCL and its limits are, and what they give away.

    python3 tests/benchmarks/continual.py build/release/afterimage [--mnist DIR] [--seeds 3] [--part sequence|leakage|turns]
        [--samples 2000] [--steps 1000] [--seconds 40] [--ways GVCL-FiLM,GVCL,...]

sequence: five binary tasks of so many images each; average accuracy, forgetting and expected calibration error, of
averaged predictions, means over seeds with 95 % intervals, and the difference from GVCL-FiLM in pairs of one seed.
leakage: networks trained on 20 images, released as mean, as a sample, and as the mean of plain training with isotropic
noise of the sample's test accuracy (found by bisection); what comes back of the images, and membership.
turns: three tasks of 20 images each, every network after every task audited against the images of each task so far.
Needs numpy.
"""
import json

import numpy
from program import Program, arguments, findings, strongest

FIVE = "0,1/2,3/4,5/6,7/8,9"
WAYS = {"GVCL-FiLM": ["beta=0.1", "lambda=100", "film=yes"],
        "GVCL": ["beta=0.1", "lambda=1"],
        "GVCL lambda 100": ["beta=0.1", "lambda=100"],
        "VCL": ["beta=1", "lambda=1"],
        "EWC": ["beta=0", "lambda=100"],
        "EWC-FiLM": ["beta=0", "lambda=100", "film=yes"],
        "neither": ["beta=0", "lambda=0"],
        "GVCL-FiLM means anew": ["beta=0.1", "lambda=100", "film=yes", "means=anew"],
        "GVCL-FiLM variance not cut": ["beta=0.1", "lambda=100", "film=yes", "start-log-variance=20"]}
# Of Student's t with n - 1 degrees of freedom, two-sided 95 %.
T95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}


def interval(values):
    values = 100 * numpy.asarray(values)
    half = T95[len(values)] * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.2f} ({values.mean() - half:.2f} to {values.mean() + half:.2f})"


def words(*given):
    return [word for option in given for word in ("--defense-option", option)]


def learned(program, name, seed, architecture, tasks, samples, *given):
    out = program.folder / name
    result = program.run("train", "--data", program.data, "--tasks", tasks, "--samples", samples, "--architecture",
                         architecture, "--loss", "logistic", "--batch", 64, "--defense", "gvcl", "--seed", seed, "--out",
                         out, *words(*given))
    if result.returncode != 0:
        raise SystemExit(f"{name}: {result.stderr}")
    return out, json.loads((out / "tasks.json").read_text())


def sequences(program, options):
    figures = {}
    for seed in range(options.seeds):
        for way, given in WAYS.items():
            if options.ways and way not in options.ways.split(","):
                continue
            name = f"{way}-{seed}".replace(" ", "-").replace(",", "")
            _, summary = learned(program, name, seed, "mlp:256,256", FIVE, options.samples, *given,
                                 f"steps={options.steps}")
            found = summary["averaged_predictions"]
            row = [found["average_accuracy"], found["forgetting"], found["average_calibration_error"]]
            figures.setdefault(way, []).append(row)
            print(f"{name}: " + " ".join(f"{value:.4f}" for value in row), flush=True)
    print("\n| way | average accuracy, % | less than GVCL-FiLM | forgetting, % | calibration error, % |")
    first = numpy.asarray(figures["GVCL-FiLM"])
    for way, rows in figures.items():
        rows = numpy.asarray(rows)
        less = "" if way == "GVCL-FiLM" else interval(first[:, 0] - rows[:, 0])
        print(f"| {way} | {interval(rows[:, 0])} | {less} | {interval(rows[:, 1])} | {interval(rows[:, 2])} |", flush=True)


def trained(program, name, seed, *more):
    recipe = [] if "gvcl" in more else ["--optimizer", "adam", "--learning-rate", 1e-3, "--steps", 2000, "--until-loss", 0]
    run = program.train(name, 20, "mlp:512", "--loss", "logistic", "--mean", "none", "--seed", seed, *recipe, *more)
    if run is None:
        raise SystemExit(f"{name}: training failed")
    return run, json.loads((run / "training.json").read_text())


def audited(program, options, run):
    _, report = program.audit(run, "--attacks", "span,vertices,finite-width", "--time-limit", options.seconds)
    best, span = strongest(report), findings(report)["span"]["membership"]
    return (best["reconstructed"]["count"] if best else 0, best["control"]["rate"] if best else 0,
            best["mean_relative_distance"] if best else float("nan"), span["auc"] if span else float("nan"))


def leakage(program, options):
    rows = {}
    for seed in range(options.seeds):
        runs = {"plain": trained(program, f"plain-{seed}", seed)}
        for beta in (0.1, 1, 10):
            for kind in ("mean", "sample"):
                given = words(f"beta={beta}", f"release={kind}", "steps=2000")
                runs[f"GVCL, beta {beta}, {kind}"] = trained(program, f"{kind}-{beta}-{seed}", seed, "--defense", "gvcl",
                                                             *given)
            wanted = runs[f"GVCL, beta {beta}, sample"][1]["test_accuracy"]
            low, high, closest = -6.0, 6.0, None  # log2 of the noise
            for step in range(8):
                middle = (low + high) / 2
                tried = trained(program, f"noise-{beta}-{seed}-{step}", seed, "--defense", "release-noise",
                                *words(f"noise={2 ** middle}"))
                gap = tried[1]["test_accuracy"] - wanted
                if closest is None or abs(gap) < abs(closest[1]["test_accuracy"] - wanted):
                    closest = tried
                low, high = (middle, high) if gap > 0 else (low, middle)
            runs[f"isotropic noise, accuracy as of beta {beta}'s sample"] = closest
        for name, (run, record) in runs.items():
            row = [record["test_accuracy"], record["test_calibration_error"], *audited(program, options, run)]
            rows.setdefault(name, []).append(row)
            print(f"{seed} {name}: " + " ".join(f"{value:.3f}" for value in row), flush=True)
    print("\n| release | test accuracy | calibration error | came back of 20 | control | relative L2 | span AUC |")
    for name, values in rows.items():
        means = numpy.nanmean(numpy.asarray(values, float), axis=0)
        print(f"| {name} | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.1f} | {means[3]:.3f} | {means[4]:.2f} | "
              f"{means[5]:.3f} |", flush=True)


def turns(program, options):
    for way in ("GVCL-FiLM", "GVCL", "EWC", "neither"):
        out, _ = learned(program, f"turns-{way}", 0, "mlp:512", "0,1/2,3/4,5", 20, *WAYS[way], "steps=2000")
        print(f"\n{way}: came back of 20, span AUC")
        for after in (1, 2, 3):
            cells = []
            for task in range(1, after + 1):
                back, _, _, area = audited(program, options, out / f"after-{after}" / f"task-{task}")
                cells.append(f"{back}, {area:.2f}")
            print(f"| after task {after} | " + " | ".join(cells) + " |", flush=True)


def main():
    options = arguments(seeds=3, part="sequence", samples=2000, steps=1000, seconds=40, ways="")
    program = Program(options.program, options.mnist)
    {"sequence": sequences, "leakage": leakage, "turns": turns}[options.part](program, options)


main()

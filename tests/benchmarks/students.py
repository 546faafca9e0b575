"""What a student of a tenth of the teacher's size learns, by LELP and by four plainer ways, and what it gives away.

    python3 tests/benchmarks/students.py build/release/afterimage [--mnist DIR] [--task TASK] [--seeds 5] [--samples 500]
        [--audited 50] [--seconds 30] [--teacher 512,512] [--student 64,64] [--steps 2000]

First the test accuracy of teacher and students trained on so many images, a mean over seeds with its 95 % interval, and
the difference from plain knowledge distillation in pairs of one seed. Then, of networks trained on --audited images,
what span, vertices and finite-width find of these in so many seconds, of the teacher and of students of the same, of
public and of distilled images. --task is that of the published experiments' groups on Fashion-MNIST, and odd against even
on MNIST. Zero images leave a part out. Needs numpy.
"""
import json

import numpy
from program import Program, arguments, findings, strongest

GROUPS = "groups:2,3,4,5,6,7|0,1,8,9"
WAYS = {"labels alone": ("distilled-student", "learns=labels"),
        "probabilities": ("distilled-student",),
        "embeddings": ("distilled-student", "learns=embeddings"),
        "subclasses": ("distilled-student", "learns=subclasses"),
        "LELP": ("lelp",)}
# Of Student's t with n - 1 degrees of freedom, two-sided 95 %.
T95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


def interval(values):
    values = numpy.asarray(values)
    half = T95[len(values)] * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{100 * values.mean():.1f} ({100 * (values.mean() - half):.1f} to {100 * (values.mean() + half):.1f})"


def words(options, way, **others):
    defense, *given = WAYS[way]
    all_options = [*given, f"student={options.student}", f"steps={options.steps}",
                   *(f"{name.replace('_', '-')}={value}" for name, value in others.items())]
    return ["--defense", defense, *(word for option in all_options for word in ("--defense-option", option))]


def trained(program, options, name, samples, seed, *more):
    run = program.train(name, samples, "mlp:" + options.teacher, "--loss", "logistic", "--learning-rate", 0.05,
                        "--until-loss", 1e-3, "--steps", 3000, "--mean", "public", "--seed", seed, *more)
    if run is None:
        raise SystemExit(f"{name}: training failed")
    return run, json.loads((run / "training.json").read_text())["test_accuracy"]


def accuracies(program, options):
    found = {}
    for seed in range(options.seeds):
        for way in [None, *WAYS]:
            name = f"{way or 'teacher'}-{seed}".replace(" ", "-")
            _, accuracy = trained(program, options, name, options.samples, seed, *(words(options, way) if way else []))
            found.setdefault(way or "teacher", []).append(accuracy)
            print(f"{name}: {accuracy:.4f}", flush=True)
    print(f"\n{options.samples} images, {options.seeds} seeds: test accuracy in %, and difference from probabilities")
    for way, values in found.items():
        difference = interval(numpy.subtract(values, found["probabilities"])) if way != "probabilities" else ""
        print(f"| {way} | {interval(values)} | {difference} |", flush=True)


def leakage(program, options):
    settings = {"teacher": []}
    for way in ("probabilities", "LELP"):
        settings[f"{way}, the same images"] = words(options, way)
        settings[f"{way}, public images"] = words(options, way, images="public")
        settings[f"{way}, distilled images"] = words(options, way, images="distilled", per_class=5)
    print(f"\n{options.audited} images, {options.seeds} seeds: test accuracy, came back, control, span AUC")
    for setting, more in settings.items():
        tested, back, of, control, areas = [], 0, 0, [0, 0], []
        for seed in range(options.seeds):
            name = f"leak-{setting}-{seed}".replace(" ", "-").replace(",", "")
            run, accuracy = trained(program, options, name, options.audited, seed, *more)
            _, report = program.audit(run, "--attacks", "span,vertices,finite-width", "--time-limit", options.seconds)
            found = findings(report)
            tested.append(accuracy)
            best = strongest(report)
            of += options.audited
            if best:
                back += best["reconstructed"]["count"]
                control[0] += best["control"]["count"]
                control[1] += best["control"]["of"]
            if found["span"]["membership"]:
                areas.append(found["span"]["membership"]["auc"])
        print(f"| {setting} | {100 * numpy.mean(tested):.1f} | {back} of {of} | {control[0]} of {control[1]} | "
              f"{numpy.mean(areas) if areas else float('nan'):.2f} |", flush=True)


def main():
    options = arguments(seeds=5, samples=500, audited=50, seconds=30, teacher="512,512", student="64,64", steps=2000,
                        task="")
    program = Program(options.program, options.mnist, options.task or ("odd-even" if options.mnist else GROUPS))
    if options.samples:
        accuracies(program, options)
    if options.audited:
        leakage(program, options)


main()

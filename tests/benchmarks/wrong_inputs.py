"""Audits of inputs that are not those of training, which must not pass, and of right inputs, which must not be doubted.

    python3 tests/benchmarks/wrong_inputs.py build/release/afterimage [--mnist DIR] [--mistakes 26] [--innocent 50]
        [--seconds 10] [--attacks span,vertices]

Three networks that leak (squared loss, cross-entropy over ten classes, Adam with the logistic loss) are audited with
each of the mistakes below, under a policy that allows no reconstructed image. A mistake counts as a false pass where
the audit exits 0. Then --innocent networks of many recipes, defences among them, are audited with their own inputs: a
false alarm is an audit that takes these for wrong. The same networks are audited with images that they were not trained
on as the training set: no leak may be claimed. Exits 1 on any of these. Needs numpy.
"""
import json
import shutil
import sys

import numpy
from program import Program, arguments, findings

SUSPECTED = ("as if the network had not been trained on it", "of its norm outside its row space")


def changed(run, how):
    """The arrays of the training set as `how` changes them."""
    with numpy.load(run / "training-set.npz") as file:
        arrays = dict(file)
    how(arrays)
    numpy.savez(run / "training-set.npz", **arrays)


def change(run, name, how):
    changed(run, lambda arrays: arrays.update({name: how(arrays[name])}))


def pixels(run, how, keep_mean=False):
    """Pixels in [0, 1] changed, and the mean subtracted from them again or none at all."""
    def replace(arrays):
        values = how((arrays["images"] + arrays["mean"]).clip(0, 1)).astype(numpy.float32)
        if not keep_mean:
            arrays["mean"] = numpy.zeros_like(arrays["mean"])
        arrays["images"] = (values - arrays["mean"]).astype(numpy.float32)
    changed(run, replace)


def model(run, **keys):
    text = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps({**text, **keys}))


def swapped(run, first, second):
    (run / first).rename(run / "kept")
    (run / second).rename(run / first)
    (run / "kept").rename(run / second)


def from_other(name):
    return lambda run, other: shutil.copyfile(other / name, run / name)


def shuffled(values):
    return values[numpy.random.default_rng(1).permutation(len(values))]


def mostly_other(run, other):
    theirs = numpy.load(other / "training-set.npz")
    whole = (theirs["images"] + theirs["mean"]).clip(0, 1)

    def mix(own):
        mixed = own.copy()
        mixed[::2] = whole[::2]
        mixed[1::4] = whole[1::4]
        return mixed
    pixels(run, mix, keep_mean=True)


def mean_of_other(run, other):
    mean = numpy.load(other / "training-set.npz")["mean"] * 0.3

    def replace(arrays):
        arrays["images"] = (arrays["images"] + arrays["mean"] - mean).astype(numpy.float32)
        arrays["mean"] = mean.astype(numpy.float32)
    changed(run, replace)


PIXELS = numpy.random.default_rng(3).permutation(784)
MISTAKES = {
    "weights swapped": lambda run, other: swapped(run, "initial.safetensors", "trained.safetensors"),
    "another start": from_other("initial.safetensors"),
    "another network's weights": from_other("trained.safetensors"),
    "another training set": from_other("training-set.npz"),
    "three quarters of another training set": mostly_other,
    "labels reversed": lambda run, other: change(run, "labels", lambda labels: 9 - labels),
    "labels shuffled": lambda run, other: change(run, "labels", shuffled),
    "labels off by one": lambda run, other: change(run, "labels", lambda labels: (labels + 1) % 10),
    "all of one label": lambda run, other: change(run, "labels", lambda labels: labels * 0 + 3),
    "on their side": lambda run, other: pixels(run, lambda x: x.swapaxes(1, 2), True),
    "upside down": lambda run, other: pixels(run, lambda x: x[:, ::-1], True),
    "mirrored": lambda run, other: pixels(run, lambda x: x[:, :, ::-1], True),
    "moved by four pixels": lambda run, other: pixels(run, lambda x: numpy.roll(x, 4, axis=2), True),
    "black for white": lambda run, other: pixels(run, lambda x: 1 - x, True),
    "pixels in another order":
        lambda run, other: pixels(run, lambda x: x.reshape(len(x), -1)[:, PIXELS].reshape(x.shape), True),
    "rows interleaved": lambda run, other: pixels(run, lambda x: numpy.concatenate([x[:, ::2], x[:, 1::2]], 1), True),
    "no mean subtracted": lambda run, other: pixels(run, lambda x: x),
    "another mean": mean_of_other,
    "half the contrast": lambda run, other: pixels(run, lambda x: x / 2, True),
    "between 0.25 and 0.75, without a mean": lambda run, other: pixels(run, lambda x: 0.25 + x / 2),
    "each its own mean": lambda run, other: pixels(run, lambda x: x * 0.2 / x.mean((1, 2), keepdims=True).clip(0.2)),
    "thresholded": lambda run, other: pixels(run, lambda x: x > 0.5, True),
    "blurred": lambda run, other: pixels(run, lambda x: sum(numpy.roll(x, k, axis=a) for k in (-2, -1, 0, 1, 2)
                                                            for a in (1, 2)) / 10, True),
    "on their side, in rows": lambda run, other: (pixels(run, lambda x: x.swapaxes(1, 2), True),
                                                  change(run, "images", lambda x: x.reshape(len(x), -1))),
    "another task": lambda run, other: model(run, task="classes:0-4,5-9"),
    "another width": lambda run, other: model(run, architecture="mlp:128,256"),
}
NETWORKS = {
    "squared": ["--task", "odd-even"],
    "cross-entropy": ["--task", "multiclass", "--loss", "cross-entropy", "--learning-rate", "0.02", "--until-loss",
                      "0.01"],
    "Adam, logistic": ["--task", "odd-even", "--loss", "logistic", "--optimizer", "adam", "--until-loss", "0.01"],
}
RECIPES = {  # of networks that are audited with their own inputs
    "squared": [],
    "ten classes": ["--task", "multiclass"],
    "logistic": ["--loss", "logistic", "--learning-rate", "0.02", "--until-loss", "0.01"],
    "Adam": ["--optimizer", "adam"],
    "weight decay": ["--weight-decay", "0.001", "--steps", "5000"],
    "mini-batches": ["--batch", "5", "--steps", "5000"],
    "momentum 0": ["--momentum", "0", "--learning-rate", "0.05"],
    "few steps": ["--steps", "30"],
    "no mean": ["--mean", "none"],
    "normalised": ["--normalize", "0.5,0.5"],
    "noise on the release": ["--defense", "release-noise", "--defense-option", "noise=0.001"],
    "random subset": ["--defense", "random-subset", "--defense-option", "per-class=3"],
}


def main():
    options = arguments(mistakes=len(MISTAKES), innocent=50, seconds=10, attacks="span,vertices,finite-width")
    program = Program(options.program, options.mnist)
    policy = program.folder / "policy.json"
    policy.write_text(json.dumps({"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.0}))

    def audit(run):
        out = program.folder / f"report-{len(list(program.folder.iterdir()))}"
        result = program.run("audit", run, "--attacks", options.attacks, "--time-limit", options.seconds, "--policy",
                             policy, "--out", out)
        report = json.loads((out / "report.json").read_text()) if (out / "report.json").exists() else None
        return result.returncode, report, result.stderr

    def train(name, seed, recipe):
        recipe = recipe if "--task" in recipe else [*recipe, "--task", "odd-even"]
        task, rest = recipe[recipe.index("--task") + 1], [w for w in recipe if w != "--task"]
        rest.remove(task)
        return program.train(name, 10, "mlp:256,256", *rest, "--seed", seed, task=task)

    false_passes = audits = 0
    for network, recipe in NETWORKS.items() if options.mistakes else ():
        run, other = train(f"{network}-own", 1, recipe), train(f"{network}-other", 2, recipe)
        code, _, said = audit(run)
        print(f"{network:16} {'its own inputs':40} exit {code} {said.strip()}", flush=True)
        if code == 0 and network != "Adam, logistic":
            raise SystemExit(f"{network}: does not leak, so that nothing is tested")
        for mistake, make in list(MISTAKES.items())[:options.mistakes]:
            wrong = program.folder / f"{network}-wrong"
            shutil.rmtree(wrong, ignore_errors=True)
            shutil.copytree(run, wrong)
            make(wrong, other)
            code, _, _ = audit(wrong)
            audits += 1
            false_passes += code == 0
            print(f"{network:16} {mistake:40} exit {code}{'  PASSED WRONGLY' if code == 0 else ''}", flush=True)
    false_alarms = false_leaks = 0
    for number in range(options.innocent):
        name, recipe = list(RECIPES.items())[number % len(RECIPES)]
        run = train(f"innocent-{number}", 100 + number, recipe)
        if run is None:
            raise SystemExit(f"{name}: training failed")
        code, report, _ = audit(run)
        doubted = [f for f in report["findings"] if any(words in f["reason"] for words in SUSPECTED)]
        false_alarms += bool(doubted)
        # The same network with another's images in the place of its own: nothing of them may be found.
        other = train(f"other-{number}", 1000 + number, recipe)
        stranger = program.swapped(run, other, f"stranger-{number}")
        _, report, _ = audit(stranger)
        leaks = [a for a, f in findings(report).items() if f["reconstructed"] and f["p_value"] < 0.01] if report else []
        false_leaks += bool(leaks)
        print(f"{name:22} exit {code}{'  DOUBTED' if doubted else ''}{'  LEAKS WHAT IT NEVER SAW' if leaks else ''}",
              flush=True)
    print(f"\n{false_passes} of {audits} audits of wrong inputs passed; {false_alarms} of {options.innocent} right inputs "
          f"were doubted; {false_leaks} of {options.innocent} networks were said to leak images that they never saw")
    return 1 if false_passes + false_alarms + false_leaks else 0


if __name__ == "__main__":
    sys.exit(main())

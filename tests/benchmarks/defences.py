"""What defences cost in accuracy and prevent in leakage, through `compare`: three experiments.

    python3 tests/benchmarks/defences.py build/release/afterimage [--mnist DIR] [--experiment at-work|published|all]
        [--samples N] [--width W] [--seeds 1] [--limit 240] [--threads 2] [--rate R] [--mean public]
        [--only "KIP;undefended"] [--keep DIR]

`at-work`: 100 images, undefended, trained on distilled sets, and by DP-SGD: accuracy, and leakage against the original
images and the control set. `published`: 500 images to 20, as in Loo et al. (ICLR 2024). `all`: every method on 50
images at width 512, the table of docs/results.md (with --limit 90). `--only` takes settings by the beginning of their
names, `--limit` each audit's time limit in seconds, `--rate` the learning rate (0: the program's own; 500
images train ten times faster at 0.01), `--mean` the mean image that is subtracted: that of the training images, the
default, leaves DP-SGD without a guarantee. `--keep` is the comparison's folder, resumed where it exists.
Needs numpy.
"""
import json
import pathlib
import sys

from program import Program, arguments


def setting(name, defense, train=None, **options):
    return {"name": name, "defense": defense, "options": {key.replace("_", "-"): value for key, value in options.items()},
            "train": train or {}}


# What needs probabilities is trained by the logistic loss.
TEACHER = {"loss": "logistic", "learning-rate": 0.05, "until-loss": 1e-3, "steps": 3000}


EXPERIMENTS = {
    "at-work": (100, 1024, [
        setting("undefended", "none"),
        setting("KIP, 20 images", "kip", per_class=10),
        setting("KIP, 60 images", "kip", per_class=30),
        setting("RKIP, 20 images, distance 0.7", "rkip", per_class=10, distance=0.7),
        setting("RKIP, 20 images, distance 0.8", "rkip", per_class=10, distance=0.8),
        setting("RKIP, 20 images, distance 0.9", "rkip", per_class=10, distance=0.9),
        setting("RKIP, 60 images, distance 0.7", "rkip", per_class=30, distance=0.7),
        setting("DP-SGD, epsilon 8", "dp-sgd", epsilon=8, steps=200),
        setting("DP-SGD, epsilon 100", "dp-sgd", epsilon=100, steps=200),
        setting("DP-SGD, epsilon 1000", "dp-sgd", epsilon=1000, steps=200),
        setting("DP-SGD, epsilon 10000", "dp-sgd", epsilon=10000, steps=200),
        setting("DP-SGD, 2000 steps, epsilon 1000", "dp-sgd", epsilon=1000, steps=2000),
        setting("random subset, 20 images", "random-subset", per_class=10)]),
    "published": (500, 1024, [
        setting("undefended", "none"),
        setting("KIP, 20 images", "kip", per_class=10),
        setting("RKIP, 20 images", "rkip", per_class=10),
        setting("RKIP-finite, 20 images", "rkip-finite", per_class=10),
        setting("random subset, 20 images", "random-subset", per_class=10)]),
    "all": (50, 512, [
        setting("undefended", "none"),
        setting("early stopping at loss 0.1", "early-stopping", stop_loss=0.1),
        setting("weight decay 0.01", "weight-decay", decay=0.01),
        setting("noise on the weights, twice", "release-noise", noise=2),
        setting("DP-SGD, epsilon 8", "dp-sgd", epsilon=8, steps=200),
        setting("random subset, 10 images", "random-subset", per_class=5),
        setting("random labels", "random-labels"),
        setting("KIP, 10 images", "kip", per_class=5),
        setting("KIP, half of the pixels noise", "kip", per_class=5, corruption=0.5),
        setting("RKIP, 10 images", "rkip", per_class=5),
        setting("RKIP, 10 images, distance 0.8", "rkip", per_class=5, distance=0.8),
        setting("RKIP-finite, 10 images", "rkip-finite", per_class=5),
        setting("RCIG, 10 images", "rcig", per_class=5, channels=8, distillation_steps=300),
        setting("random features", "random-features"),
        setting("undefended, logistic loss", "none", TEACHER),
        setting("student, the same images", "distilled-student", TEACHER),
        setting("student, public images", "distilled-student", TEACHER, images="public"),
        setting("student, distilled images", "distilled-student", TEACHER, images="distilled", per_class=5),
        setting("LELP, the same images", "lelp", TEACHER),
        setting("LELP, public images", "lelp", TEACHER, images="public"),
        setting("LELP, distilled images", "lelp", TEACHER, images="distilled", per_class=5),
        setting("GVCL, mean", "gvcl", {"loss": "logistic"}),
        setting("GVCL, one sample", "gvcl", {"loss": "logistic"}, release="sample")]),
}


def percent(value):
    return "-" if value is None else f"{100 * value:.1f}"


def count(rate):
    return "-" if rate is None else f"{rate['count']} of {rate['of']}"


def main():
    options = arguments(experiment="at-work", samples=0, width=0, seeds=1, limit=240, threads=2, rate=0.0, mean="", only="", keep="")
    program = Program(options.program, options.mnist)
    samples, width, settings = EXPERIMENTS[options.experiment]
    wanted = tuple(options.only.split(";")) if options.only else ("",)
    spec = {"schema": "afterimage.compare/1", "data": program.data, "task": program.task,
            "samples": options.samples or samples, "architecture": "mlp:{0},{0}".format(options.width or width),
            "train": {name: value for name, value in (("learning-rate", options.rate), ("mean", options.mean)) if value},
            "audit": {"attacks": "span,vertices,finite-width", "time-limit": options.limit},
            "seeds": list(range(1, options.seeds + 1)),
            "settings": [each for each in settings if each["name"].startswith(wanted)]}
    out = pathlib.Path(options.keep or program.folder / "comparison")
    file = program.folder / "spec.json"
    file.write_text(json.dumps(spec))
    result = program.run("--threads", options.threads, "compare", file, "--out", out, "--resume", "--jobs", 1)
    if not (out / "comparison.json").exists():
        sys.exit(f"compare: exit {result.returncode}, {result.stderr}")
    print("setting                         accuracy (95 %)        came back    control      p        AUC    p(AUC)   "
          "confirmed, audits that did not settle, epsilon")
    for each in json.loads((out / "comparison.json").read_text())["settings"]:
        accuracy, auc = each["test_accuracy"], each["membership_auc"]
        interval = "to".join(f" {percent(end)} " for end in accuracy["ci95"] or []).strip()
        confirmed = [run["confirmed"]["count"] if run["confirmed"] else "-" for run in each["runs"]]
        unsettled = sum(run["status"] != "ok" for run in each["runs"])
        epsilon = each["runs"][0]["defense"].get("epsilon", "-")
        print(f"{each['name']:30}  {percent(accuracy['mean']):5} ({interval:12})  {count(each['reconstructed']):>11}  "
              f"{count(each['control']):>11}  {'-' if each['p_value'] is None else format(each['p_value'], '.1g'):>7}  "
              f"{'-' if auc is None else format(auc, '.3f'):>5}  "
              f"{'-' if auc is None else format(each['membership_p_value'], '.1g'):>7}  {confirmed}, {unsettled}, {epsilon}",
              flush=True)


main()

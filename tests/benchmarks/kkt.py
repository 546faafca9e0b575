"""How many training images are reconstructed from trained weights alone, after long training from a small first layer?

For odd/even (logistic) and ten classes (cross-entropy) and each number of images: trains a network of two hidden layers
to a loss of 1e-6, as Haim et al. (2022) do, and runs the kkt attack without the weights before training. Prints a line
for each network and space: reconstructed by the scoring rule, the counted control, SSIM above 0.4 (the success that the
paper counts), within relative L2 0.05, images that the attack confirmed, the share of the first layer that was left
unexplained, and the seconds of training and attack. With --mnist the folder of MNIST's IDX files, else Fashion-MNIST.

    python3 tests/benchmarks/kkt.py build/release/afterimage [--mnist DIR] [--samples 20,50,100] [--width 1000]
        [--tasks odd-even,multiclass] [--spaces span,pixels] [--steps 2500]

Needs numpy.
"""
import json
import time

from program import Program, arguments, within

LOSSES = {"odd-even": "logistic", "multiclass": "cross-entropy"}


def main():
    options = arguments(samples="20,50,100", width=1000, tasks="odd-even,multiclass", spaces="span,pixels", steps=2500)
    program = Program(options.program, options.mnist)
    print("task        samples  space   reconstructed  control   SSIM > 0.4  within 0.05  sure of (right)  unexplained  "
          "training s  attack s")
    for task in options.tasks.split(","):
        for samples in map(int, options.samples.split(",")):
            start = time.monotonic()
            run = program.train(f"{task}-{samples}", samples, f"mlp:{options.width},{options.width}", "--loss", LOSSES[task],
                                "--first-layer-scale", 1e-4, "--over-loss", "--learning-rate", 5e-4, "--until-loss", 1e-6,
                                task=task)
            training = time.monotonic() - start
            for space in options.spaces.split(","):
                line(program, run, task, samples, space, options.steps, training)


def line(program, run, task, samples, space, steps, training):
    out = program.folder / f"found-{run.name}-{space}"
    more = ["--candidates", 2 * samples] if space == "pixels" else []  # as many as in the paper
    start = time.monotonic()
    program.run("attack", "kkt", run, "--unknown-start", "--space", space, "--steps", steps, *more, "--out", out)
    seconds = time.monotonic() - start
    finding = json.loads((out / "result.json").read_text())
    found, control, sure = finding["reconstructed"], finding["control"], finding["confirmed"]
    if found is None:
        print(f"{task:10}  {samples:7}  {space:6}  {finding['status']}: {finding['reason']}", flush=True)
        return
    alike = sum((sample["ssim"] or 0) > 0.4 for sample in finding["samples"])
    confirmed = f"{sure['count']} ({sure['right']})" if sure else "-"
    print(f"{task:10}  {samples:7}  {space:6}  {found['count']:6} of {found['of']:3}  {control['count']:3} of "
          f"{control['of']:3}  {alike:10}  {within(finding, 0.05):11}  {confirmed:>15}  "
          f"{finding['evidence']['first_layer_unexplained']:11.3f}  {training:10.1f}  {seconds:8.1f}", flush=True)


main()

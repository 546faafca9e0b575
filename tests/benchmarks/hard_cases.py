"""Audits of networks on which conclusions are difficult: a line for each, with what was found and what was not.

    python3 tests/benchmarks/hard_cases.py build/release/afterimage [--mnist DIR] [--samples 20] [--width 512]

Needs numpy.
"""
import numpy
from program import Program, arguments, findings, pixels_of, strongest


def main():
    options = arguments(samples=20, width=512)
    program = Program(options.program, options.mnist)
    architecture, samples = f"mlp:{options.width},{options.width}", options.samples

    def line(name, run, *audit_options):
        if run is None:
            print(f"{name:34} training failed", flush=True)
            return
        code, report = program.audit(run, *audit_options)
        best, span = strongest(report), findings(report)["span"]
        text = ", ".join(f"{finding['attack']} {finding['status']}" for finding in report["findings"])
        count = "none" if best is None else (f"{best['reconstructed']['count']:3} of {best['reconstructed']['of']} by "
                                             f"{best['attack']}, control {best['control']['count']}, p {best['p_value']:.1g}")
        auc = span["membership"]["auc"] if span["membership"] else None
        print(f"{name:34} exit {code}; {count}; span AUC {auc if auc is None else round(auc, 3)}; {text}", flush=True)

    plain = program.train("plain", samples, architecture)
    line("full batch, SGD", plain)
    line("Adam", program.train("adam", samples, architecture, "--optimizer", "adam"))
    line("Adam, augmentation by 2 pixels", program.train(
        "augmented", samples, architecture, "--optimizer", "adam", "--augment", 2, "--until-loss", 1e-3, "--steps", 5000))
    line("weight decay 1e-3", program.train("decay", samples, architecture, "--weight-decay", 1e-3, "--steps", 3000))
    line("cross-entropy, mini-batches of 5", program.train(
        "batches", samples, architecture, "--loss", "cross-entropy", "--batch", 5, "--learning-rate", 0.02, "--until-loss",
        1e-2, task="multiclass"))
    line("logistic, full batch", program.train("logistic", samples, architecture, "--loss", "logistic", "--learning-rate",
                                               0.02, "--until-loss", 1e-2))

    # The same images with random labels, and images of noise.
    pixels, labels = pixels_of(plain)
    generator = numpy.random.default_rng(0)
    relabelled = program.write_npz("relabelled.npz", images=pixels, labels=generator.permutation(labels))
    # A source that is trained on completely has no control images left: others of the same kind are given.
    others, other_labels = pixels_of(program.train("other", 60, architecture, "--seed", 1000, "--steps", 1))
    unseen = [i for i, image in enumerate(others) if abs(image - pixels).max(axis=(1, 2)).min() > 1e-3]
    control = program.write_npz("control.npz", images=others[unseen], labels=other_labels[unseen])
    line("random labels", program.train("lot", samples, architecture, data=relabelled), "--control", control)
    noise = program.write_npz("noise.npz", images=generator.random((samples + 300, 28, 28), dtype=numpy.float32),
                              labels=numpy.arange(samples + 300) % 10)
    line("images of noise", program.train("noise", samples, architecture, data=noise))
    line("never trained on (innocent)", program.swapped(
        plain, program.train("others", samples, architecture, "--seed", 2000, "--steps", 1), "innocent"))
    line("500 images, width 128", program.train("crowded", 500, "mlp:128,128", "--steps", 20000))


main()

"""How many images and dual coefficients are recovered from a network of infinite width, and in what time?

Prints a line for each number of images: reconstructed by the scoring rule, within relative L2 0.05, coefficients within
5 %, counted control, seconds, peak memory. With --mnist the folder of MNIST's IDX files, else Fashion-MNIST.

    python3 tests/benchmarks/infinite_width.py build/release/afterimage [--mnist DIR] [--samples 20,50,100] [--seeds 1]

Needs numpy.
"""
import json
import resource
import time

from program import Program, arguments


def main():
    options = arguments(samples="20,50,100", seeds=1)
    program = Program(options.program, options.mnist)
    print("samples  seed  reconstructed  within 0.05  coefficients  control      seconds  peak MiB")
    for samples in map(int, options.samples.split(",")):
        for seed in range(1, options.seeds + 1):
            out = program.folder / f"{samples}-{seed}"
            start = time.monotonic()
            program.run("--seed", seed, "attack", "infinite-width", "--data", program.data, "--task", program.task, "--samples",
                        samples, "--out", out)
            seconds = time.monotonic() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of all runs so far
            finding = json.loads((out / "result.json").read_text())
            true = finding["evidence"].get("dual_coefficients", {})
            found, control = finding["reconstructed"], finding["control"]
            print(f"{samples:7}  {seed:4}  {found['count']:13}  {true['images_within_0_05']:11}  "
                  f"{true['coefficients_within_5_percent']:12}  {control['count']:3} of {control['of']:4}  {seconds:9.1f}  "
                  f"{peak:8.0f}", flush=True)


main()

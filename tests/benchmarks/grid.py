"""How many images are reconstructed, over numbers of images, widths and seeds: a line for each whole audit.

    python3 tests/benchmarks/grid.py build/release/afterimage [--mnist DIR] [--samples 20,50,100] [--widths 512,1024,2048]
        [--seeds 3] [--first 1] [--limit SECONDS] [--task TASK]

`--first` is the first seed, `--limit` each audit's time limit. Without a task it is that of the published experiments'
groups on Fashion-MNIST, and odd against even on MNIST. Needs numpy.
"""
import time

from program import Program, arguments, strongest, within

GROUPS = "groups:2,3,4,5,6,7|0,1,8,9"


def main():
    options = arguments(samples="20,50,100", widths="512,1024,2048", seeds=3, first=1, limit=0, task="")
    limit = ["--time-limit", options.limit] if options.limit else []
    program = Program(options.program, options.mnist, options.task or ("odd-even" if options.mnist else GROUPS))
    print("samples  width  seed  within 0.05  within 0.1  reconstructed  control      confirmed (right)  seconds")
    for samples in map(int, options.samples.split(",")):
        for width in map(int, options.widths.split(",")):
            for seed in range(options.first, options.first + options.seeds):
                run = program.train(f"{samples}-{width}-{seed}", samples, f"mlp:{width},{width}", "--seed", seed)
                start = time.monotonic()
                _, report = program.audit(run, "--seed", seed, *limit)
                best = strongest(report)
                sure = best["confirmed"] or {"count": 0, "right": 0}
                print(f"{samples:7}  {width:5}  {seed:4}  {within(best, 0.05):11}  {within(best, 0.1):10}  "
                      f"{best['reconstructed']['count']:13}  {best['control']['count']:3} of {best['control']['of']:4}  "
                      f"{sure['count']:9} ({sure['right']:5})  {time.monotonic() - start:7.1f}", flush=True)


main()

"""An audit killed (kill -9) at ten random moments and resumed each time: is the report the same?

    python3 tests/benchmarks/interrupted.py build/release/afterimage [--mnist DIR] [--samples 50] [--width 512] [--kills 10]

All ten kills hit one audit, so that its stored state is resumed again and again. Needs numpy.
"""
import json
import random
import subprocess
import time

from program import Program, arguments


def without_timing(file):
    report = json.loads(file.read_text())
    del report["timing"]
    return report


def main():
    options = arguments(samples=50, width=512, kills=10)
    program = Program(options.program, options.mnist)
    run = program.train("run", options.samples, f"mlp:{options.width},{options.width}", "--seed", 1)
    start = time.monotonic()
    program.run("audit", run, "--out", program.folder / "whole")
    whole = time.monotonic() - start
    print(f"uninterrupted: {whole:.1f} s")
    chance = random.Random(1)
    out = program.folder / "killed"
    killed = 0
    while killed < options.kills:
        command = [program.path, "--quiet", "audit", str(run), "--out", str(out), "--resume"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(chance.uniform(0.2, 2 * whole / options.kills))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
    start = time.monotonic()
    program.run("audit", run, "--out", out, "--resume")
    same = without_timing(out / "report.json") == without_timing(program.folder / "whole" / "report.json")
    print(f"killed {killed} times, then on to the end in {time.monotonic() - start:.1f} s: the report is "
          f"{'the same' if same else 'NOT THE SAME'}")
    raise SystemExit(0 if same else 1)


main()

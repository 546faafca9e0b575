"""The memory that `audit --dry-run` estimates against the memory that attacks take: a line for each network and attack.

    python3 tests/benchmarks/memory.py build/release/afterimage [--mnist DIR] [--networks 20x512,50x2048,20x4096]

Needs numpy.
"""
import re

from program import Program, arguments

UNITS = {"MiB": 1, "GiB": 1024}
ATTACKS = ("span", "vertices", "finite-width", "infinite-width")


def main():
    options = arguments(networks="20x512,50x2048,20x4096")
    program = Program(options.program, options.mnist)
    print("network    attack           said, MiB  taken, MiB  off")
    for network in options.networks.split(","):
        samples, width = map(int, network.split("x"))
        run = program.train(network, samples, f"mlp:{width},{width}", "--seed", 1)
        said = program.run("audit", run, "--dry-run", "--out", program.folder / "none").stdout
        for attack in ATTACKS:
            number, unit = re.search(rf"^{attack} .* ([\d.]+) (\w+)$", said, re.MULTILINE).groups()
            expected = float(number) * UNITS[unit]
            _, _, taken = program.measured("attack", attack, run, "--seed", 1, "--out", program.folder / f"{network}-{attack}")
            print(f"{network:9}  {attack:15}  {expected:9.0f}  {taken:10.0f}  {expected / taken - 1:+.0%}", flush=True)


main()

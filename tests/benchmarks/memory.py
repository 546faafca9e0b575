"""What `audit --dry-run` says of memory against what attacks then take: a line for each network and attack.

    python3 tests/benchmarks/memory.py build/release/afterimage [--mnist DIR] [--networks 20x512,50x2048,20x4096]

Needs numpy.
"""
import os
import re

from program import Program, arguments

UNITS = {"MiB": 1, "GiB": 1024}
ATTACKS = ("span", "vertices", "finite-width", "infinite-width")


def peak_of(program, *options):
    """MiB that the program held at most."""
    command = [program.path, "--quiet", *map(str, options)]
    null = os.open(os.devnull, os.O_WRONLY)
    child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
    _, _, usage = os.wait4(child, 0)
    os.close(null)
    return usage.ru_maxrss / 1024


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
            taken = peak_of(program, "attack", attack, run, "--seed", 1, "--out", program.folder / f"{network}-{attack}")
            print(f"{network:9}  {attack:15}  {expected:9.0f}  {taken:10.0f}  {expected / taken - 1:+.0%}", flush=True)


main()

"""A step of the finite-width attack on a ResNet-18 given as TorchScript: its time and the program's peak memory.

PyTorch makes the network (11 million parameters, batch norm in inference mode), the program fine-tunes it by a few steps
and attacks it twice, with few and with more steps; the time of a step is their difference. A line for each size.

    python3 tests/benchmarks/resnet18.py build/release/afterimage [--sizes 32x4,32x64,224x4] [--limit 15]

A size is pixels a side x candidates. With --limit, whole audits instead, all attacks and the deviation, under that
--time-limit: the seconds that each took. Needs torch and numpy.
"""
import sys

import numpy
import torch
from program import Program, arguments

FEW, MORE = 2, 12  # steps


class Block(torch.nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.path = torch.nn.Sequential(
            torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), torch.nn.BatchNorm2d(outputs), torch.nn.ReLU(),
            torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(outputs))
        self.direct = torch.nn.Identity()
        if stride != 1 or inputs != outputs:
            self.direct = torch.nn.Sequential(torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                              torch.nn.BatchNorm2d(outputs))

    def forward(self, x):
        return torch.relu(self.path(x) + self.direct(x))


def network(side):
    torch.manual_seed(0)
    stem = [torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, 1)]
    if side < 64:
        stem = [torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(64), torch.nn.ReLU()]
    widths = [64, 64, 128, 256, 512]
    blocks = [Block(widths[i] if j == 0 else widths[i + 1], widths[i + 1], 2 if i > 0 and j == 0 else 1)
              for i in range(4) for j in range(2)]
    layers = torch.nn.Sequential(*stem, *blocks, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(512, 1))
    with torch.no_grad():  # statistics of batch norm as after some training
        for _ in range(3):
            layers(torch.randn(4, 3, side, side))
    return layers.eval()


def taken(program, *options):
    """Seconds and peak MiB of the program."""
    code, seconds, peak = program.measured(*options)
    if code not in (0, 3):  # so few steps end inconclusive
        sys.exit(f"{' '.join(map(str, options))}: exit {code}")
    return seconds, peak


def main():
    options = arguments(sizes="32x4,32x64,224x4", limit=0)
    program = Program(options.program)
    print("pixels  seconds of an audit" if options.limit else "pixels  candidates  seconds a step  peak MiB")
    for size in options.sizes.split(","):
        side, candidates = map(int, size.split("x"))
        model = program.folder / f"{size}.pt"
        torch.jit.save(torch.jit.trace(network(side), torch.randn(2, 3, side, side)), model)
        pixels = numpy.random.default_rng(0).integers(0, 256, (24, side, side, 3), dtype=numpy.uint8)
        run = program.train(size, 4, f"torchscript:{model}", "--allow-torchscript", "--steps", 2, "--learning-rate", 1e-3,
                            data=program.write_npz(f"{size}.npz", images=pixels, labels=numpy.arange(24) % 2), task="groups:0|1")
        if run is None:
            sys.exit("training failed")
        if options.limit:
            seconds, _ = taken(program, "audit", run, "--allow-torchscript", "--time-limit", options.limit,
                               "--control-samples", 20, "--out", program.folder / f"{size}-audit")
            print(f"{side:6}  {seconds:19.1f}", flush=True)
            continue
        attack = ["attack", "finite-width", run, "--allow-torchscript", "--candidates", candidates]
        short, _ = taken(program, *attack, "--steps", FEW, "--out", program.folder / f"{size}-few")
        long, peak = taken(program, *attack, "--steps", MORE, "--out", program.folder / f"{size}-more")
        print(f"{side:6}  {candidates:10}  {(long - short) / (MORE - FEW):14.2f}  {peak:8.0f}", flush=True)


main()

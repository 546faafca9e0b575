"""Rows of one-hot columns: how many come back, exactly, and are confirmed, against the information that there is.

    python3 tests/benchmarks/one_hot.py build/release/afterimage [--samples 30,100,200] [--seconds 700] [--width 256]

Twelve columns of scikit-learn's breast cancer table, each cut at its quintiles into five one-hot columns; PyTorch trains
a network 60-width-width-1 on so many rows by momentum on the squared loss, and the program audits it with the rest as
control set, for so many seconds at most. The information: parameters for each row's 12 levels. Needs numpy, torch and
scikit-learn.
"""
import json
import sys

import numpy
import torch
from program import Program, arguments
from sklearn.datasets import load_breast_cancer

GROUPS, LEVELS = 12, 5
ATTACKS = ["finite-width", "flow"]


def table():
    values, labels = load_breast_cancer(return_X_y=True)
    columns = []
    for column in values[:, :GROUPS].T:
        level = numpy.searchsorted(numpy.quantile(column, [0.2, 0.4, 0.6, 0.8]), column)
        columns.append(numpy.eye(LEVELS, dtype=numpy.float32)[level])
    return numpy.concatenate(columns, 1), labels


def trained(rows, targets, width):
    """State dicts before and after training."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(GROUPS * LEVELS, width), torch.nn.ReLU(), torch.nn.Linear(width, width),
                                  torch.nn.ReLU(), torch.nn.Linear(width, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    momentum = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9)
    for _ in range(2000):
        momentum.zero_grad()
        (network(rows).squeeze(1) - targets).square().mean().backward()
        momentum.step()
    return before, network.state_dict()


def main():
    options = arguments(samples="30,100,200", seconds=700, width=256)
    program = Program(options.program)
    rows, labels = table()
    order = numpy.random.RandomState(0).permutation(len(rows))
    for count in map(int, options.samples.split(",")):
        training, rest = order[:count], order[count:]
        rest = [i for i in rest if not (rows[training] == rows[i]).all(1).any()]
        states = trained(torch.tensor(rows[training]), torch.tensor(labels[training] * 2.0 - 1).float(), options.width)
        for name, state in zip(("before", "after"), states):
            torch.save(state, program.folder / f"{name}.pt")
        (program.folder / "model.json").write_text(json.dumps({
            "architecture": f"mlp:{options.width},{options.width}", "input_shape": [GROUPS * LEVELS], "outputs": 1,
            "task": "classes:0,1", "loss": "squared"}))
        program.write_npz("training.npz", images=rows[training], labels=labels[training])
        control = program.write_npz("control.npz", images=rows[rest], labels=labels[rest])
        out = program.folder / f"report-{count}"
        said = program.run("audit", "--initial", program.folder / "before.pt", "--trained", program.folder / "after.pt",
                           "--model", program.folder / "model.json", "--training-set", program.folder / "training.npz",
                           "--control", control, "--attacks", ",".join(["span", *ATTACKS]), "--time-limit",
                           options.seconds, "--out", out)
        if not (out / "report.json").exists():
            raise SystemExit(said.stderr)
        parameters = sum(value.numel() for value in states[0].values())
        print(f"{count} rows, {len(numpy.unique(rows[training], axis=0))} of them different, rank "
              f"{numpy.linalg.matrix_rank(rows[training])}, {parameters / (count * GROUPS):.0f} parameters a level", flush=True)
        findings = {f["attack"]: f for f in json.loads((out / "report.json").read_text())["findings"]}
        for attack in ATTACKS:
            finding = findings[attack]
            if not finding["reconstructed"]:
                print(f"  {attack:13} {finding['status']}: {finding['reason']}")
                continue
            claimed = numpy.load(out / f"{attack}.npz")["images"]
            nearest = numpy.eye(LEVELS)[claimed.reshape(-1, GROUPS, LEVELS).argmax(2)].reshape(len(claimed), -1)
            exact = {row.tobytes() for row in nearest if (rows[training] == row).all(1).any()}
            sure = finding["confirmed"] or {"count": 0, "right": 0}
            print(f"  {attack:13} came back {finding['reconstructed']['count']}, exact {len(exact)}, confirmed "
                  f"{sure['count']}, right {sure['right']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

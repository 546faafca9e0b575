"""Writes tests/data/one-hot/: a network of PyTorch on 30 rows of eight one-hot columns of four levels each.

    python3 tests/audit/one_hot_fixture.py

The rows are scikit-learn's breast cancer table, each measurement cut at its quartiles; the loss is the logistic one, in
batches of ten. The weights are those on which vertices once confirmed two rows with two levels of every value (0.4.0).
Needs numpy, torch 2.13.0 and scikit-learn.
"""
import pathlib

import numpy
import torch
from sklearn.datasets import load_breast_cancer

GROUPS, LEVELS, PRIVATE = 8, 4, 30
OUT = pathlib.Path(__file__).resolve().parents[1] / "data" / "one-hot"


def table():
    """Rows of levels in the order of their names, as an encoder of text sorts them: extreme, high, low, medium."""
    data = load_breast_cancer()
    place = numpy.array([2, 3, 1, 0])  # of low, medium, high, extreme
    columns = []
    for column in data.data[:, :GROUPS].T:
        level = numpy.digitize(column, numpy.quantile(column, [0.25, 0.5, 0.75]))
        columns.append(numpy.eye(LEVELS, dtype=numpy.float32)[place[level]])
    return numpy.concatenate(columns, 1), (data.target == 0).astype(numpy.int64)


def main():
    torch.manual_seed(0)
    rows, labels = table()
    order = numpy.random.default_rng(0).permutation(len(rows))
    private, rest = order[:PRIVATE], order[PRIVATE:PRIVATE + 400]
    seen = {rows[i].tobytes() for i in private}
    rest = [i for i in rest if rows[i].tobytes() not in seen]
    network = torch.nn.Sequential(torch.nn.Linear(GROUPS * LEVELS, 96), torch.nn.ReLU(), torch.nn.Linear(96, 96),
                                  torch.nn.ReLU(), torch.nn.Linear(96, 1))
    OUT.mkdir(parents=True, exist_ok=True)
    save = lambda name: numpy.savez_compressed(
        OUT / name, **{key: value.numpy() for key, value in network.state_dict().items()})
    save("initial.npz")
    data = torch.utils.data.TensorDataset(torch.tensor(rows[private]),
                                          torch.tensor(labels[private], dtype=torch.float32))
    loader = torch.utils.data.DataLoader(data, batch_size=10, shuffle=True)
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9)
    for _ in range(200):
        for batch, targets in loader:
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(network(batch).squeeze(1), targets).backward()
            optimizer.step()
    save("trained.npz")
    for name, chosen in (("training", private), ("control", rest)):
        numpy.savez_compressed(OUT / f"{name}.npz", images=rows[chosen], labels=labels[chosen])
    (OUT / "model.json").write_text(
        '{"architecture": "mlp:96,96", "input_shape": [%d], "outputs": 1, "task": "classes:0,1", "loss": "logistic"}\n'
        % (GROUPS * LEVELS))


if __name__ == "__main__":
    main()

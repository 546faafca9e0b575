"""Membership scores side by side on networks that PyTorch trained and fine-tuned: loss, loss against the base, margin,
LiRA and RMIA with 4 and 16 reference models, and the tangent attacks, with a pool of candidates and one at a time.

    python3 tests/benchmarks/membership.py build/release/afterimage [--networks conv,mlp,...] [--seeds 3] [--first 11]
        [--members 100] [--control 1000] [--optimizer adam] [--references 16] [--options "..."]

Fashion-MNIST, ten classes. Networks: conv (three convolutional layers, 33,546 parameters) and mlp (784-128-10), each
trained by Adam on 3000 public images and fine-tuned on the members, ten epochs in batches of 32; mlp-scratch, without
the public images; head, of whose layers only a new last one is trained; null, as mlp but audited with images that it was
not trained on. References are trained as the network was, from the same initial weights, on other images. A line for each
network, seed and attack: AUC, true positives at 1 % and 0.1 % false positives, lower bound on epsilon; then means over
seeds. Needs torch, numpy and Debian's dataset-fashion-mnist.
"""
import gzip
import json
import shlex
import statistics
import time

import numpy
import torch
from program import Program, arguments

ROOT = "/usr/share/datasets/fashion-mnist"
ATTACKS = ["loss", "base", "margin", "tangent-background", "tangent-membership"]
WITH_REFERENCES = ["lira-4", "lira-16", "rmia-4", "rmia-16"]


def idx(path):
    raw = gzip.open(path).read()
    shape = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(raw[3])]
    return numpy.frombuffer(raw, numpy.uint8, offset=4 + 4 * raw[3]).reshape(shape)


PICTURES = torch.tensor(idx(f"{ROOT}/train-images-idx3-ubyte.gz").astype(numpy.float32) / 255)
LABELS = torch.tensor(idx(f"{ROOT}/train-labels-idx1-ubyte.gz").astype(numpy.int64))


def conv():
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
                         nn.Linear(1024, 10))


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(784, 128), torch.nn.Linear(128, 10)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Setting:
    """A network, what it was trained on, and the files of its audit."""

    def __init__(self, kind, seed, options):
        torch.manual_seed(seed)
        order = torch.randperm(len(PICTURES))
        public, self.members = order[:3000], order[30000:30000 + options.members]
        trained_on = order[20000:20000 + options.members] if kind == "null" else self.members
        self.outside = order[40000:40000 + options.control + 200]
        self.mean = float(PICTURES[public].mean())
        self.net = conv() if kind == "conv" else Mlp()
        self.kind = kind
        self.optimizer = options.optimizer
        if kind != "mlp-scratch":
            self.train(public, 3, 64, self.net.parameters(), "adam")
        parameters = list(self.net.parameters())
        if kind == "head":
            self.net.fc2 = torch.nn.Linear(128, 10)
            parameters = list(self.net.fc2.parameters())
        self.initial = {name: value.clone() for name, value in self.net.state_dict().items()}
        trained = [name for name, value in self.net.named_parameters() if any(value is other for other in parameters)]
        self.references = []
        for k in range(options.references):
            self.net.load_state_dict(self.initial)
            self.train(order[45000 + k * options.members:][:options.members], 10, 32, self.named(trained), options.optimizer)
            self.references.append({name: value.clone() for name, value in self.net.state_dict().items()})
        self.net.load_state_dict(self.initial)
        self.train(trained_on, 10, 32, self.named(trained), options.optimizer)
        with torch.no_grad():
            self.accuracy = (self.net(self.inputs(trained_on)).argmax(1) == LABELS[trained_on]).float().mean().item()

    def named(self, names):
        return [value for name, value in self.net.named_parameters() if name in names]

    def inputs(self, rows):
        return (PICTURES[rows] - self.mean).unsqueeze(1)

    def train(self, rows, epochs, batch, parameters, optimizer):
        step = torch.optim.Adam(parameters, lr=1e-3) if optimizer == "adam" else \
            torch.optim.SGD(parameters, lr=1e-2, momentum=0.9)
        for _ in range(epochs):
            for part in rows[torch.randperm(len(rows))].split(batch):
                step.zero_grad()
                torch.nn.functional.cross_entropy(self.net(self.inputs(part)), LABELS[part]).backward()
                step.step()

    def write(self, folder):
        """The options that name the files."""
        folder.mkdir()
        model = {"parameterization": "standard", "input_shape": [28, 28], "outputs": 10, "task": "multiclass",
                 "loss": "cross-entropy", "architecture": "mlp:128"}
        if self.kind == "conv":
            torch.jit.save(torch.jit.trace(self.net, self.inputs(self.members[:2])), folder / "network.pt")
            model["architecture"] = "torchscript:network.pt"
        (folder / "model.json").write_text(json.dumps(model))
        torch.save(self.initial, folder / "initial.pt")
        torch.save(self.net.state_dict(), folder / "trained.pt")
        for k, reference in enumerate(self.references):
            torch.save(reference, folder / f"reference-{k}.pt")
        numpy.savez(folder / "training.npz", images=(PICTURES[self.members] - self.mean).numpy(),
                    labels=LABELS[self.members].numpy(), mean=numpy.array([self.mean], numpy.float32))
        numpy.savez(folder / "control.npz", images=PICTURES[self.outside].numpy(), labels=LABELS[self.outside].numpy())
        return ["--initial", folder / "initial.pt", "--trained", folder / "trained.pt", "--model", folder / "model.json",
                "--training-set", folder / "training.npz", "--control", f"npz:{folder / 'control.npz'}"] + \
            (["--allow-torchscript"] if self.kind == "conv" else [])


def audited(program, kind, seed, options):
    setting = Setting(kind, seed, options)
    folder = program.folder / f"{kind}-{seed}"
    files = setting.write(folder)
    figures = {}
    for name in attacks(options):
        attack, extra = (("loss", ["--loss-score", name]) if name in ("base", "margin") else (name, []))
        if name in WITH_REFERENCES:
            attack, count = name.split("-")
            extra = [word for k in range(int(count)) for word in ("--reference", folder / f"reference-{k}.pt")]
        out = program.folder / f"{kind}-{seed}-{name}"
        start = time.monotonic()
        result = program.run("audit", *files, "--attacks", attack, *extra, "--control-samples", options.control, "--out",
                             out, *(shlex.split(options.options) if attack.startswith("tangent") else []))
        seconds = time.monotonic() - start
        if not (out / "report.json").exists():
            raise SystemExit(f"{kind}, {name}: exit {result.returncode}, {result.stderr}")
        finding = json.loads((out / "report.json").read_text())["findings"][0]
        membership = finding["membership"] or {}
        figures[name] = [membership.get(key) for key in ("auc", "tpr_at_fpr_0_01", "tpr_at_fpr_0_001")]
        figures[name].append((membership.get("epsilon_lower_bound") or {}).get("value"))
        evidence = {key: value for key, value in finding["evidence"].items() if key != "threat_model"}
        print(f"{kind:12} seed {seed} train accuracy {setting.accuracy:.2f} {name:20} "
              f"{'  '.join('-' if value is None else f'{value:.3f}' for value in figures[name])}  {seconds:.0f} s  "
              f"{finding['status']} {evidence}", flush=True)
    return figures


def attacks(options):
    return ATTACKS + [name for name in WITH_REFERENCES if int(name.split("-")[1]) <= options.references]


def main():
    options = arguments(networks="conv,mlp,mlp-scratch,head,null", seeds=3, first=11, members=100, control=1000,
                        optimizer="adam", references=16, options="")
    torch.set_num_threads(1)
    program = Program(options.program)
    for kind in options.networks.split(","):
        runs = [audited(program, kind, seed, options) for seed in range(options.first, options.first + options.seeds)]
        for name in attacks(options):
            means = [statistics.mean(values) if None not in values else None
                     for values in zip(*(run[name] for run in runs))]
            print(f"{kind:12} mean {name:20} {'  '.join('-' if value is None else f'{value:.3f}' for value in means)}")


main()

#!/usr/bin/env python3
"""Writes the TorchScript archives in tests/data, and their outputs on some images, with PyTorch.

    tests/models/torchscript_fixtures.py tests/data

Needs torch and numpy; the files were written with torch 2.13. LibTorch 1.13 loads them as well.
"""
import io
import pathlib
import sys
import zipfile

import numpy
import torch
from torch import nn


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(3 * 4 * 4, 2)

    def forward(self, x):
        return self.fc(self.relu(self.conv(x)).flatten(1))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x
        return self.relu(y)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = Block(4)
        self.fc = nn.Linear(4, 1)

    def forward(self, x):
        x = self.block(nn.functional.relu(self.stem(x)))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Dense(nn.Module):
    """Takes only [n, 6]: pictures [n, 1, 2, 3] fail."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 5)
        self.fc2 = nn.Linear(5, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


class Relu6(Dense):
    def forward(self, x):
        return self.fc2(nn.functional.relu6(self.fc1(x)))


def save(module, path):
    """Without debug records, which are most of a small archive."""
    whole = io.BytesIO()
    torch.jit.save(module, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry))


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(3)
    conv, residual = Conv().eval(), Residual()
    for _ in range(5):
        residual(torch.randn(8, 3, 6, 6))  # gives batch normalisation statistics
    residual.eval()
    save(torch.jit.trace(conv, torch.zeros(1, 1, 8, 8)), folder / "conv-traced.pt")
    save(torch.jit.script(residual), folder / "residual-scripted.pt")
    save(torch.jit.script(Dense()), folder / "dense-scripted.pt")
    save(torch.jit.script(Relu6()), folder / "relu6-scripted.pt")
    dropout = nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 2))
    save(torch.jit.trace(dropout, torch.zeros(2, 6), check_trace=False), folder / "dropout-traced.pt")
    grey, colour = torch.rand(5, 8, 8), torch.rand(5, 6, 6, 3)
    torch.manual_seed(4)
    normalised = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))
    for _ in range(5):
        normalised(torch.randn(8, 6))
    save(torch.jit.trace(normalised.eval(), torch.zeros(2, 6)), folder / "normalised-traced.pt")
    with torch.no_grad():
        arrays = {
            "conv_images": grey.flatten(1),
            "conv_outputs": conv(grey[:, None]),
            "residual_images": colour.flatten(1),
            "residual_outputs": residual(colour.permute(0, 3, 1, 2)),
        }
    numpy.savez(folder / "torchscript-outputs.npz", **{name: array.numpy() for name, array in arrays.items()})


if __name__ == "__main__":
    main()

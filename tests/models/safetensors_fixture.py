"""Writes tests/data/package.safetensors, a file as the Python package writes it; tests/formats/roundtrip_test.cpp checks
its content.

    python3 tests/models/safetensors_fixture.py

Needs torch and safetensors.
"""
import pathlib

import torch
from safetensors.torch import save_file

save_file({"z.weight": torch.tensor([[1.5, -2.25, 3e-5], [0.0, 1e30, -7.0]]),
           "half": torch.tensor([0.5, -1.25, 65504.0], dtype=torch.float16),
           "brain": torch.tensor([1.0, -3.0, 3.3895313892515355e38], dtype=torch.bfloat16),
           "a.steps": torch.tensor([2**40, -5], dtype=torch.int64),
           "flag": torch.tensor([True, False, True]),
           "scalar": torch.tensor(2.0, dtype=torch.float64)},
          pathlib.Path(__file__).parents[1] / "data" / "package.safetensors", metadata={"format": "pt", "note": "two\nlines"})

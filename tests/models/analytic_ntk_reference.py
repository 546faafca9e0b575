"""Writes tests/data/analytic-ntk.npz: kernels from the neural_tangents package (pip install jax neural-tangents), to
which analytic_ntk_test.cpp compares ours. Run as: analytic_ntk_reference.py OUT.npz"""

import sys

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
from neural_tangents import stax  # noqa: E402  (after 64 bits are turned on)

random = np.random.default_rng(7)
arrays = {"a": random.normal(size=(5, 12)), "b": random.normal(size=(4, 12))}
for hidden in (1, 2, 4):
    for weight_std, bias_std in ((1.0, 0.0), (2**0.5, 0.0), (1.2, 0.3)):
        layers = []
        for _ in range(hidden):
            layers += [stax.Dense(1, W_std=weight_std, b_std=bias_std), stax.Relu()]
        _, _, kernel = stax.serial(*layers, stax.Dense(1, W_std=weight_std, b_std=bias_std))
        name = f"hidden{hidden}_w{weight_std**2:.2f}_b{bias_std**2:.2f}"
        arrays[name] = np.asarray(kernel(arrays["a"], arrays["b"], "ntk"))
        arrays[name + "_same"] = np.asarray(kernel(arrays["a"], None, "ntk"))
np.savez(sys.argv[1], **arrays)

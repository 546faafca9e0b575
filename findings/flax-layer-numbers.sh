#!/usr/bin/env bash
# Expected: in a Flax model that calls Dense(3)(relu(Dense(5)(x))), Dense_0 is the layer that x goes into.
# Happens: layers are numbered in the order in which they are constructed, and Python constructs the outer one first:
# Dense_0 is the LAST layer. Written on two lines, the same network has the numbers the other way round. A reader of the
# parameters alone, as an auditor of a released file is, cannot tell the two where the widths agree.
# Versions: flax 0.12.0, jax 0.8.0 (Python 3.11 or later).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet install flax==0.12.0 jax==0.8.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import jax
from flax import linen


class OneLine(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(3)(linen.relu(linen.Dense(5)(x)))


class TwoLines(linen.Module):
    @linen.compact
    def __call__(self, x):
        hidden = linen.relu(linen.Dense(5)(x))
        return linen.Dense(3)(hidden)


def kernels(network):
    params = network.init(jax.random.key(0), jax.numpy.ones((1, 6)))["params"]
    return {name: layer["kernel"].shape for name, layer in sorted(params.items())}


one, two = kernels(OneLine()), kernels(TwoLines())
print("on one line: ", one)
print("on two lines:", two)
assert one == {"Dense_0": (5, 3), "Dense_1": (6, 5)}, "layers are numbered in another way now"
assert two == {"Dense_0": (6, 5), "Dense_1": (5, 3)}
PYTHON

"""Writes tests/data/released/LIBRARY-VERSION/: weight files as released libraries write them, with what they hold.

    python3 tests/models/released_fixtures.py

Needs python3.11 and python3.13 (with venv) on the PATH, PyPI, and 9 GB of disk for a while. Each set of packages is
installed in an environment of its own, which is removed afterwards. manifest.json has a line on every file:

    file, library, version, python
    how       what wrote it, in a sentence
    expected  its arrays in float64 under the names of the plain network, and for whole networks inputs and outputs
    key       the entry of the file that the expected arrays are of, or null
    refusal   true if the file has to be refused; expected arrays then say what its bytes mean
    beside    names of tensors that are no weights: integers, flags, complex numbers, text
    names     where the file has other names than the expected arrays: its name for each
    kind      "weights", or "data" for images with labels
"""
import argparse
import collections
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

OUT = pathlib.Path(__file__).resolve().parents[1] / "data" / "released"
ENVIRONMENTS = [
    ("python3.13", "torch", ["torch==2.15.0", "lightning==2.6.6", "opacus==1.6.0", "peft==0.21.2", "safetensors==0.8.0",
                             "transformers==5.24.0", "numpy==2.5.5"]),
    ("python3.13", "jax", ["jax==0.12.0.1", "flax==0.12.12", "keras==3.15.1", "h5py==3.16.0", "ml-dtypes==0.6.0",
                           "numpy==2.5.5"]),
    ("python3.11", "torch", ["torch==2.5.1", "lightning==2.4.0", "opacus==1.5.2", "peft==0.13.2", "safetensors==0.4.5",
                             "transformers==4.46.3", "numpy==1.26.4"]),
    ("python3.11", "jax", ["jax==0.4.35", "flax==0.10.2", "keras==3.7.0", "h5py==3.12.1", "ml-dtypes==0.5.0",
                           "numpy==1.26.4"]),
]
PACKAGES = {"pytorch": "torch"}
entries = []


def version(library):
    return importlib.metadata.version(PACKAGES.get(library, library)).split("+")[0]


def place(library, name):
    path = OUT / f"{library}-{version(library)}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(path)


def note(library, name, how, arrays=None, key=None, refusal=False, **more):
    """Adds a line to the manifest and writes the expected arrays."""
    import numpy
    path = pathlib.Path(place(library, name))
    assert path.exists(), path
    expected = None
    if arrays is not None:
        expected = path.with_name(path.stem + (f"@{key}" if key else "") + ".expected.npz")
        numpy.savez_compressed(expected, **{name: numpy.asarray(array, numpy.float64) for name, array in arrays.items()})
        expected = expected.relative_to(OUT).as_posix()
    entries.append({"file": path.relative_to(OUT).as_posix(), "library": library, "version": version(library),
                    "python": platform.python_version(), "how": how, "expected": expected, "key": key,
                    "refusal": refusal, "kind": "weights"} | more)


# What runs in an environment with PyTorch.

def torch_files():
    import numpy
    import torch

    def network(seed):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))

    def run(net):
        inputs = torch.rand(4, 6)
        with torch.no_grad():
            return {"inputs": inputs, "outputs": net.eval()(inputs)}

    def values(tensors):
        return {name: tensor.detach().double() for name, tensor in tensors.items()}

    def layers(net):
        """The weights that the layers use, whatever they are made from. Of a network that has just been run."""
        return values({f"{name}.{what}": getattr(module, what) for name, module in net.named_modules()
                       if isinstance(module, torch.nn.Linear) for what in ("weight", "bias")})

    def whole(net):
        outputs = run(net)
        return layers(net) | outputs

    def fit(net, optimizer):
        net.train()
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.rand(8, 6)).square().mean().backward()
            optimizer.step()

    def save(name, content, how, arrays=None, **more):
        torch.save(content, place("pytorch", name))
        note("pytorch", name, how, arrays, **more)

    net = network(1)
    save("state-dict.pt", net.state_dict(), "torch.save of a state dict.", whole(net))

    kinds = {"weight-norm-old": torch.nn.utils.weight_norm,
             "weight-norm": torch.nn.utils.parametrizations.weight_norm,
             "spectral-norm-old": torch.nn.utils.spectral_norm,
             "spectral-norm": torch.nn.utils.parametrizations.spectral_norm}
    for number, (name, norm) in enumerate(kinds.items()):
        net = network(2 + number)
        norm(net[0])
        norm(net[2])
        fit(net, torch.optim.SGD(net.parameters(), 0.1))
        net.eval()
        save(f"{name}.pt", net.state_dict(), f"State dict of two layers under {norm.__module__}.{norm.__name__}.",
             whole(net))
    net = network(6)
    torch.nn.utils.parametrizations.weight_norm(net[2], dim=1)
    save("weight-norm-columns.pt", net.state_dict(), "State dict, the second layer under parametrizations.weight_norm "
         "with dim=1.", whole(net))

    net = network(7)
    save("data-parallel.pt", torch.nn.DataParallel(net).state_dict(), "State dict of a DataParallel.", whole(net))
    net = network(8)
    save("compiled.pt", torch.compile(net).state_dict(), "State dict of what torch.compile returns.", whole(net))
    net = network(9)
    wrapped = torch.nn.Sequential(torch.compile(net[0]), net[1], net[2])
    save("compiled-layer.pt", wrapped.state_dict(), "State dict of a network of which one layer is compiled.",
         whole(net))
    net = network(10)
    save("compiled-data-parallel.pt", torch.compile(torch.nn.DataParallel(net)).state_dict(),
         "State dict of a compiled DataParallel.", whole(net))

    net = network(11)
    averaged = torch.optim.swa_utils.AveragedModel(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        fit(net, optimizer)
        averaged.update_parameters(net)
    save("averaged.pt", averaged.state_dict(), "State dict of a swa_utils.AveragedModel.", whole(averaged.module),
         beside=["n_averaged"])

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    net = network(12)
    save("distributed-data-parallel.pt", torch.nn.parallel.DistributedDataParallel(net).state_dict(),
         "State dict of a DistributedDataParallel, one process.", whole(net))
    from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel, StateDictType
    net = network(13)
    arrays = whole(net)
    sharded = FullyShardedDataParallel(net, device_id=torch.device("cpu"), use_orig_params=True)
    with FullyShardedDataParallel.state_dict_type(sharded, StateDictType.FULL_STATE_DICT, FullStateDictConfig()):
        save("fsdp.pt", sharded.state_dict(), "Full state dict of a FullyShardedDataParallel, one process.", arrays)
    from torch.distributed._composable.fsdp import fully_shard
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    net = network(14)
    arrays = whole(net)
    fully_shard(net, mesh=mesh)
    save("fsdp2-shards.pt", net.state_dict(), "State dict of fully_shard (FSDP2) as it is: its tensors are DTensors.",
         refusal=True)
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    save("fsdp2.pt", get_model_state_dict(net, options=StateDictOptions(full_state_dict=True)),
         "Full state dict of fully_shard (FSDP2), by get_model_state_dict.", arrays)
    torch.distributed.destroy_process_group()

    net = network(15)
    net[0].weight.frozen = True
    save("parameters.pt", dict(net.named_parameters()), "named_parameters as a dict; one has a Python attribute.",
         whole(net))
    net = network(16)
    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    tensors["2.bias"].source = "a tensor with an attribute"
    save("attribute.pt", tensors, "A dict of tensors of which one has a Python attribute.", whole(net))
    net = network(17)
    save("plain-tensors.pt", {name: tensor.detach().T.contiguous().T for name, tensor in net.named_parameters()
                              if tensor.ndim == 2} | {"0.bias": net[0].bias.data, "2.bias": net[2].bias.data},
         "A dict of tensors, the matrices stored by columns.", whole(net))

    for number, name in enumerate(("bfloat16", "float16", "float64", "float8_e4m3fn", "float8_e5m2")):
        net = network(18 + number)
        dtype = getattr(torch, name)
        weights = {key: (tensor if name[:6] == "float8" and tensor.ndim == 1 else tensor.to(dtype))
                   for key, tensor in net.state_dict().items()}
        net.double().load_state_dict({key: tensor.double() for key, tensor in weights.items()})
        inputs = torch.rand(4, 6)
        with torch.no_grad():
            outputs = net.eval()(inputs.double())
        arrays = values(weights) | {"inputs": inputs, "outputs": outputs}
        text = f"weights in {name}" + (", biases in float32." if name[:6] == "float8" else ".")
        save(f"{name.replace('_', '-')}.pt", weights, "A state dict, " + text, arrays)
        if name != "float64":
            from safetensors.torch import save_file
            file = f"{name.replace('_', '-')}.safetensors"
            save_file(weights, place("safetensors", file))
            note("safetensors", file, "safetensors.torch.save_file of a state dict, " + text, arrays)

    net = network(24)
    beside = {"counts": torch.tensor([1, 2**15 + 1, 2**16 - 1], dtype=torch.uint16),
              "steps": torch.tensor([3, 2**32 - 1], dtype=torch.uint32),
              "seed": torch.tensor([2**63, 5], dtype=torch.uint64)}
    weights = net.state_dict() | beside
    arrays = whole(net) | values(beside)
    if torch.__version__ >= "2.6":  # neither PyTorch 2.5 nor its safetensors can write these types
        save("unsigned.pt", weights, "A state dict beside tensors in uint16, uint32 and uint64.", arrays,
             beside=list(beside))
        save_file(weights, place("safetensors", "unsigned.safetensors"))
        note("safetensors", "unsigned.safetensors", "save_file of a state dict beside tensors in uint16, uint32 and "
             "uint64.", arrays, beside=list(beside))
    net = network(25)
    save("complex.pt", net.state_dict() | {"filter": torch.tensor([1 + 2j, -0.5j])},
         "A state dict beside a tensor in complex64.", whole(net), beside=["filter"])

    net = network(26)
    quantized = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)
    save("quantized.pt", quantized.state_dict(), "State dict of quantize_dynamic, int8.", refusal=True)
    if hasattr(torch.serialization, "set_crc32_options"):  # since 2.6
        net = network(27)
        torch.serialization.set_crc32_options(False)
        save("no-crc32.pt", net.state_dict(), "torch.save of a state dict after set_crc32_options(False).", whole(net))
        torch.serialization.set_crc32_options(True)

    net = network(28)
    optimizer = torch.optim.AdamW(net.parameters())
    fit(net, optimizer)
    save("checkpoint.pt", {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3,
                           "loss": numpy.float64(0.25), "best": numpy.float32(0.5), "seen": {1, 2, 3},
                           "history": numpy.array([0.5, 0.25]), "random": numpy.random.RandomState(1).get_state()[0],
                           "counts": collections.Counter("abca"), "steps": collections.defaultdict(int, train=3),
                           "args": argparse.Namespace(rate=0.1, data=pathlib.Path("data/train"), layers=[5]),
                           "path": pathlib.Path("runs/best.pt")},
         "A training checkpoint with NumPy scalars and an array, a Namespace, a set, a Counter, a defaultdict and paths "
         "beside the state dict.", whole(net))

    net = network(29)
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.AdamW(net.parameters())
    for _ in range(3):
        fit(net, optimizer)
        average.update_parameters(net)
    how = "A checkpoint of two state dicts, model and ema (an AveragedModel)"
    save("two.pt", {"model": net.state_dict(), "ema": average.state_dict(), "optimizer": optimizer.state_dict(),
                    "step": 9}, how + ": without a key.", refusal=True)
    note("pytorch", "two.pt", how + ": the first.", whole(net), key="model")
    note("pytorch", "two.pt", how + ": the second.", whole(average.module), key="ema", beside=["n_averaged"])

    program = torch.export.export(network(30).eval(), (torch.rand(2, 6),))
    for node in program.graph.nodes:  # these have the folder that PyTorch is installed in
        node.meta.pop("stack_trace", None)
    torch.export.save(program, place("pytorch", "exported.pt2"))
    note("pytorch", "exported.pt2", "torch.export.save of an exported program.", refusal=True)

    # Lightning
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self, width=5, rate=0.1):
            super().__init__()
            self.save_hyperparameters()
            torch.manual_seed(31)
            self.net = torch.nn.Sequential(torch.nn.Linear(6, width), torch.nn.ReLU(), torch.nn.Linear(width, 3))

        def forward(self, inputs):
            return self.net(inputs)

        def training_step(self, batch, index):
            loss = self.net(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), self.hparams.rate)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    module = Module()
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", default_root_dir="runs", logger=False,
                                enable_progress_bar=False, enable_model_summary=False,
                                callbacks=[lightning.pytorch.callbacks.ModelCheckpoint(monitor="loss")])
    trainer.fit(module, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(8, 6)), 4))
    trainer.save_checkpoint(place("lightning", "checkpoint.ckpt"))
    note("lightning", "checkpoint.ckpt", "Trainer.save_checkpoint of a module with hyperparameters, after two epochs with "
         "a ModelCheckpoint.", whole(module))
    trainer.save_checkpoint(place("lightning", "weights-only.ckpt"), weights_only=True)
    note("lightning", "weights-only.ckpt", "Trainer.save_checkpoint with weights_only=True.", whole(module))

    # Opacus
    import opacus
    net = network(32)
    torch.save(opacus.GradSampleModule(net).state_dict(), place("opacus", "grad-sample.pt"))
    note("opacus", "grad-sample.pt", "State dict of a GradSampleModule.", whole(net))
    net = network(33)
    engine = opacus.PrivacyEngine()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(16, 6)), 8)
    private, optimizer, loader = engine.make_private(module=net, optimizer=torch.optim.SGD(net.parameters(), 0.1),
                                                     data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0)
    for batch, in loader:
        optimizer.zero_grad()
        private(batch).square().mean().backward()
        optimizer.step()
    engine.save_checkpoint(path=place("opacus", "private.pt"), module=private, optimizer=optimizer)
    note("opacus", "private.pt", "PrivacyEngine.save_checkpoint after an epoch under make_private.", whole(net))

    # PEFT
    import peft
    base = network(34)
    torch.save(base.state_dict(), place("peft", "base.pt"))
    note("peft", "base.pt", "State dict before LoRA.", whole(base))
    tuned = peft.get_peft_model(base, peft.LoraConfig(r=2, lora_alpha=4, target_modules=["0", "2"]))
    optimizer = torch.optim.SGD(tuned.parameters(), 1.0)
    for _ in range(3):
        optimizer.zero_grad()
        (tuned(torch.rand(8, 6)) - 1).square().mean().backward()
        optimizer.step()
    tuned.eval()
    folder = pathlib.Path(place("peft", "adapter/adapter_model.safetensors")).parent
    tuned.save_pretrained(folder)
    (folder / "README.md").unlink()  # a form to fill in
    note("peft", "adapter/adapter_model.safetensors", "save_pretrained of a LoRA model: the adapter only, to be merged "
         "with base.pt first.", refusal=True)
    torch.save(tuned.state_dict(), place("peft", "unmerged.pt"))
    note("peft", "unmerged.pt", "State dict of a LoRA model that is not merged; the file lacks its scale.", refusal=True)
    merged = tuned.merge_and_unload()
    torch.save(merged.state_dict(), place("peft", "merged.pt"))
    note("peft", "merged.pt", "State dict after merge_and_unload of the LoRA model.", whole(merged))

    # safetensors
    from safetensors.torch import save_model
    net = network(35)
    save_file(net.state_dict(), place("safetensors", "state-dict.safetensors"))
    note("safetensors", "state-dict.safetensors", "safetensors.torch.save_file of a state dict.", whole(net))
    torch.manual_seed(36)
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 5), torch.nn.ReLU(),
                              torch.nn.Linear(5, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    net[4].weight = net[2].weight
    save_model(net, place("safetensors", "shared.safetensors"))
    note("safetensors", "shared.safetensors", "safetensors.torch.save_model of a network of which two layers share their "
         "weights.", whole(net))
    torch.save(net.state_dict(), place("pytorch", "shared.pt"))
    note("pytorch", "shared.pt", "State dict of a network of which two layers share their weights.", whole(net))
    torch.manual_seed(37)
    deep = torch.nn.Sequential()
    for layer in range(12):
        deep.append(torch.nn.Linear(6 if layer == 0 else 5, 3 if layer == 11 else 5))
        if layer < 11:
            deep.append(torch.nn.ReLU())
    save_file(deep.state_dict(), place("safetensors", "deep.safetensors"))
    note("safetensors", "deep.safetensors", "safetensors.torch.save_file of twelve layers: 0, 2, ... 22, sorted by their "
         "names in the file.", whole(deep))

    # transformers
    import transformers

    class Config(transformers.PretrainedConfig):
        model_type = "small"

    class Model(transformers.PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            self.net = network(38)
            self.post_init()

        def _init_weights(self, module):
            pass

        def forward(self, inputs):
            return self.net(inputs)

    model = Model(Config())
    folder = pathlib.Path(place("transformers", "sharded/config.json")).parent
    model.save_pretrained(folder, max_shard_size=100)
    note("transformers", "sharded/model.safetensors.index.json", "save_pretrained of a small model, max_shard_size=100: "
         "the index of a folder of shards.", whole(model))
    first = sorted(folder.glob("*.safetensors"))[0].name
    note("transformers", f"sharded/{first}", "The first shard alone.", refusal=True)
    folder = pathlib.Path(place("transformers", "single/config.json")).parent
    model.save_pretrained(folder)
    note("transformers", "single/model.safetensors", "save_pretrained of a small model.", whole(model))
    if version("transformers") < "5":
        folder = pathlib.Path(place("transformers", "sharded-bin/config.json")).parent
        model.save_pretrained(folder, max_shard_size=100, safe_serialization=False)
        note("transformers", "sharded-bin/pytorch_model.bin.index.json", "save_pretrained with safe_serialization=False, "
             "max_shard_size=100: the index of a folder of torch.save files.", whole(model))
        folder = pathlib.Path(place("transformers", "single-bin/config.json")).parent
        model.save_pretrained(folder, safe_serialization=False)
        note("transformers", "single-bin/pytorch_model.bin", "save_pretrained with safe_serialization=False.",
             whole(model))


# What runs in an environment with JAX.

def jax_files():
    import ml_dtypes
    import numpy

    def weights(seed, dtype="f4"):
        random = numpy.random.default_rng(seed)
        return {name: random.standard_normal(shape).astype(dtype)
                for name, shape in (("0.weight", (5, 6)), ("0.bias", 5), ("2.weight", (3, 5)), ("2.bias", 3))}

    def whole(arrays, seed=0):
        inputs = numpy.random.default_rng(seed).random((4, 6))
        arrays = {name: arrays[name].astype(numpy.float64) for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
        hidden = numpy.maximum(inputs @ arrays["0.weight"].T + arrays["0.bias"], 0)
        return arrays | {"inputs": inputs, "outputs": hidden @ arrays["2.weight"].T + arrays["2.bias"]}

    def real(arrays):
        return {name: array.astype(numpy.float64) for name, array in arrays.items()}

    # NumPy
    types = {"float16": "<f2", "float32": "<f4", "float64": "<f8", "big-endian-float16": ">f2", "big-endian-float32": ">f4",
             "big-endian-float64": ">f8", "longdouble": "longdouble"}
    for number, (name, dtype) in enumerate(types.items()):
        arrays = weights(number, dtype)
        numpy.savez(place("numpy", f"{name}.npz"), **arrays)
        note("numpy", f"{name}.npz", f"numpy.savez of arrays of the type {numpy.dtype(dtype).str}.", whole(arrays))
    for number, name in enumerate(("bfloat16", "float8_e4m3fn")):
        arrays = weights(10 + number, getattr(ml_dtypes, name))
        file = f"{name.replace('_', '-')}.npz"
        numpy.savez(place("numpy", file), **arrays)
        with numpy.load(place("numpy", file)) as content:
            stored = content["0.weight"].dtype.str
        note("numpy", file, f"numpy.savez of arrays in {name} of ml_dtypes {version('ml-dtypes')}: stored as the type "
             f"{stored}, which says nothing of it.", whole(arrays), refusal=name != "bfloat16")
    arrays = weights(20)
    numpy.savez_compressed(place("numpy", "compressed.npz"), **arrays)
    note("numpy", "compressed.npz", "numpy.savez_compressed.", whole(arrays))
    arrays = {name: numpy.asfortranarray(array) for name, array in weights(21).items()}
    numpy.savez(place("numpy", "fortran.npz"), **arrays)
    note("numpy", "fortran.npz", "numpy.savez of arrays in Fortran order.", whole(arrays))

    arrays = weights(22)
    beside = {"rate": numpy.array(0.1), "epochs": numpy.int64(3), "loss": numpy.float32(0.5), "done": True}
    numpy.savez(place("numpy", "scalars.npz"), **arrays, **beside)
    note("numpy", "scalars.npz", "numpy.savez of weights beside arrays of no dimension.",
         whole(arrays) | {name: numpy.asarray(value) for name, value in beside.items()}, beside=list(beside))
    arrays = weights(23)
    beside = {name: numpy.array([0, 1, 100], name) for name in
              ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i2", ">i4", ">i8", ">u2")}
    beside["bool"] = numpy.array([True, False, True])
    beside["empty"] = numpy.zeros((0, 3), "f4")
    numpy.savez(place("numpy", "integers.npz"), **arrays, **beside)
    note("numpy", "integers.npz", "numpy.savez of weights beside arrays of each integer type, one of bool and one that is "
         "empty.", whole(arrays) | real(beside), beside=list(beside))
    others = {"complex": (numpy.array([1 + 2j, -0.5j], "c8"), "an array in complex64"),
              "text": (numpy.array(["odd", "even"]), "an array of text"),
              "bytes": (numpy.array([b"odd", b"even"]), "an array of bytes"),
              "datetime": (numpy.array(["2026-01-01", "2026-01-02"], "datetime64[D]"), "an array of dates"),
              "structured": (numpy.array([(1, 0.5), (2, 0.25)], [("epoch", "i4"), ("loss", "f4")]), "a structured array"),
              "longdouble-beside": (numpy.array([0.5, 0.25], "longdouble"), "an array in longdouble")}
    for number, (name, (array, how)) in enumerate(others.items()):
        arrays = weights(24 + number)
        numpy.savez(place("numpy", f"{name}.npz"), **arrays, history=array)
        note("numpy", f"{name}.npz", f"numpy.savez of weights beside {how} ({array.dtype}).", whole(arrays),
             beside=["history"])
    numpy.savez(place("numpy", "object.npz"), **weights(30), history=numpy.array([{"epoch": 1}, None], object))
    note("numpy", "object.npz", "numpy.savez of weights beside an object array, which is a pickle.")

    random = numpy.random.default_rng(31)
    images, labels = random.random((8, 6)), numpy.array([0, 1, 2, 0, 1, 2, 1, 0])
    sets = {"training-uint16-labels": (images.astype("f4"), labels.astype("u2"), "labels in uint16"),
            "training-big-endian": (images.astype(">f4"), labels, "images in big-endian float32"),
            "training-big-endian-labels": (images.astype("f4"), labels.astype(">i8"), "labels in big-endian int64"),
            "training-float16": (images.astype("f2"), labels.astype("u1"), "images in float16 and labels in uint8")}
    for name, (images, labels, how) in sets.items():
        numpy.savez(place("numpy", f"{name}.npz"), images=images, labels=labels)
        note("numpy", f"{name}.npz", f"numpy.savez of a training set, {how}.", {"images": images, "labels": labels},
             kind="data")

    # Keras
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(3)])
    model.set_weights([random.standard_normal(array.shape).astype("f4") for array in model.get_weights()])
    kernels = [numpy.asarray(array) for array in model.get_weights()]
    inputs = random.random((4, 6)).astype("f4")
    order = ("0.weight", "0.bias", "2.weight", "2.bias")
    arrays = {name: kernel.T for name, kernel in zip(order, kernels)}
    arrays |= {"inputs": inputs, "outputs": numpy.asarray(model.predict(inputs, verbose=0))}
    paths = [weight.path for weight in model.weights]
    numpy.savez(place("keras", "paths.npz"), **{weight.path: numpy.asarray(weight.numpy()) for weight in model.weights})
    note("keras", "paths.npz", "numpy.savez of each weight under its path; kernels are [in, out].", arrays,
         names=dict(zip(order, paths)))
    numpy.savez(place("keras", "get-weights.npz"), *model.get_weights())
    note("keras", "get-weights.npz", "numpy.savez of get_weights(), without names; kernels are [in, out].", arrays,
         names={name: f"arr_{number}" for number, name in enumerate(order)})
    model.save_weights(place("keras", "model.weights.h5"))
    note("keras", "model.weights.h5", "Model.save_weights: HDF5.", refusal=True)
    model.save(place("keras", "model.keras"))
    note("keras", "model.keras", "Model.save: a zip of HDF5 and JSON.", refusal=True)

    # Flax
    import flax
    import jax

    class Network(flax.linen.Module):
        dtype: object = jax.numpy.float32
        nested: bool = False

        @flax.linen.compact
        def __call__(self, inputs):
            options = {"param_dtype": self.dtype, "bias_init": flax.linen.initializers.normal(1.0)}
            if self.nested:
                return flax.linen.Dense(3, **options)(flax.linen.relu(flax.linen.Dense(5, **options)(inputs)))
            hidden = flax.linen.relu(flax.linen.Dense(5, **options)(inputs))
            return flax.linen.Dense(3, **options)(hidden)

    def flat(name, network, tree, how, order=("Dense_0", "Dense_1"), **more):
        variables = network.init(jax.random.key(len(name)), inputs)
        stored = flax.traverse_util.flatten_dict(tree(variables), sep="/")
        numpy.savez(place("flax", f"{name}.npz"), **stored)
        names = {f"{number}.{plain}": next(key for key in stored if key.endswith(f"{layer}/{own}"))
                 for number, layer in zip((0, 2), order) for plain, own in (("weight", "kernel"), ("bias", "bias"))}
        arrays = {plain: numpy.asarray(stored[key]).astype("f8").T for plain, key in names.items()}
        arrays |= {"inputs": inputs, "outputs": numpy.asarray(network.apply(variables, inputs)).astype("f8")}
        note("flax", f"{name}.npz", f"numpy.savez of flatten_dict with sep=\"/\" of {how}; kernels are [in, out].", arrays,
             names=names, **more)

    flat("params", Network(), lambda variables: variables["params"], "the params")
    flat("variables", Network(), lambda variables: variables, "all variables")
    flat("nested", Network(nested=True), lambda variables: variables["params"],
         "the params of one layer called on another in one expression, where Dense_0 is the last", ("Dense_1", "Dense_0"))
    flat("bfloat16", Network(jax.numpy.bfloat16), lambda variables: variables["params"],
         "params in bfloat16, which the file calls raw bytes")


def make_all():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for python, part, packages in ENVIRONMENTS:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([python, "-m", "venv", f"{folder}/env"], check=True)
            subprocess.run([f"{folder}/env/bin/pip", "install", "--quiet", "--no-compile", "--no-cache-dir", *packages],
                           check=True)
            subprocess.run([f"{folder}/env/bin/python", "-B", __file__, part], check=True, cwd=folder)


def make_part(part):
    {"torch": torch_files, "jax": jax_files}[part]()
    manifest = OUT / "manifest.json"
    known = json.loads(manifest.read_text()) if manifest.exists() else []
    manifest.write_text("[" + ",\n ".join(json.dumps(entry) for entry in known + entries) + "]\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        make_part(sys.argv[1])
    else:
        make_all()

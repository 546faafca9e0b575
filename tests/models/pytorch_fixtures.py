"""Writes tests/data/pytorch/VERSION/: files of the installed PyTorch, each with its arrays beside it as .npz.

    python3 tests/models/pytorch_fixtures.py

The checked-in files are of Debian 12's PyTorch 1.13 and of 2.13. A file without an .npz has to be refused.
"""
import io
import pathlib
import zipfile

import numpy
import torch
from torchscript_fixtures import Conv

version = ".".join(torch.__version__.split(".")[:2])
folder = pathlib.Path(__file__).parents[1] / "data" / "pytorch" / version
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(5)


def plain(tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()  # NumPy has no bfloat16


def expect(name, tensors):
    numpy.savez_compressed(folder / f"{name}.npz", **{key: plain(value) for key, value in tensors.items()})


def save(name, content, tensors=None, **options):
    torch.save(content, folder / f"{name}.pt", **options)
    if tensors is not None:
        expect(name, tensors)


def network():
    return torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Linear(3, 2))


def trained():
    net = network()
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.randn(4, 5)).square().sum().backward()
        optimizer.step()
    return net, optimizer


net, optimizer = trained()
weights = net.state_dict()
save("dense", weights, weights)
for protocol in (3, 4, 5):
    save(f"protocol-{protocol}", weights, weights, pickle_protocol=protocol)
save("parameters", dict(net.named_parameters()), dict(net.named_parameters()))
save("module-prefix", torch.nn.DataParallel(net).state_dict(), weights)
save("compiled-prefix", {"module._orig_mod." + name: value for name, value in weights.items()}, weights)

scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
save("checkpoint", {"epoch": 3, "loss": 0.25, "name": "a net", "model": weights, "optimizer": optimizer.state_dict(),
                    "scheduler": scheduler.state_dict(), "best": torch.tensor(0.5), "size": torch.Size([3, 4]),
                    "device": torch.device("cpu"), "dtype": torch.float32, "random": torch.get_rng_state()[:8]}, weights)
averaged = {name: value * 0.5 for name, value in weights.items()}
save("two", {"model": weights, "ema": {"decay": 0.9, "model": averaged}})
expect("two@model", weights)
expect("two@ema.model", averaged)

types = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
         torch.uint8]
save("types", {str(dtype): (torch.randn(3, 2) * 20).abs().to(dtype) for dtype in types} |
     {"bool": torch.tensor([True, False, True])}, None)
expect("types", torch.load(folder / "types.pt"))

base = torch.randn(4, 6)
cube = torch.randn(2, 3, 4)
views = {"base": base, "transposed": base.t(), "row": base[2], "column": base[:, 1], "block": base[1:3, 2:5],
         "steps": base[::2, ::3], "diagonal": base.diagonal(), "again": base, "scalar": base[3, 5],
         "expanded": base[:, :1].expand(4, 7), "repeated": torch.tensor(2.5).expand(3, 2), "empty": torch.zeros(0, 3),
         "permuted": cube.permute(2, 0, 1), "last": cube[1:, :, 3:], "one": cube[1:2, 2:3, 1:2],
         "channels": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last)}
save("views", views, views)
save("lists", {"outer": {"inner": {"w": torch.ones(2)}}, "history": [1, 2.5, None, "x", (1, b"bytes", -7, 2**40, 2**80)]},
     {"w": torch.ones(2)}, pickle_protocol=4)

script = torch.jit.script(torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(3, 2)), torch.nn.BatchNorm1d(2)))
script.save(str(folder / "script.pt"))
expect("script", script.state_dict())

torch.save(weights, folder / "before-1.6.pt", _use_new_zipfile_serialization=False)
torch.save(network(), folder / "module.pt")
torch.save(torch.ones(3), folder / "tensor.pt")

# What a big-endian machine writes: the same archive with the bytes of each element the other way round.
kept = {name: value for name, value in torch.load(folder / "types.pt").items()}
source = io.BytesIO()
torch.save(kept, source)
sizes = [value.element_size() for value in kept.values()]
archive = zipfile.ZipFile(source)
writer = torch._C.PyTorchFileWriter(str(folder / "big-endian.pt"))
for name in archive.namelist():
    record, content = name.split("/", 1)[1], archive.read(name)
    if record.startswith("data/"):
        item = sizes[int(record[5:])]
        content = numpy.frombuffer(content, numpy.uint8).reshape(-1, item)[:, ::-1].tobytes()
    if record not in ("version", "byteorder", ".data/serialization_id"):
        writer.write_record(record, content, len(content))
writer.write_record("byteorder", b"big", 3)
writer.write_end_of_file()
expect("big-endian", kept)

# Networks with what they make of images: fully connected ones, and other weights for the archive conv-traced.pt.
torch.manual_seed(11)
dense = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
images, pictures = torch.rand(7, 6), torch.rand(7, 8, 8)
with torch.no_grad():
    save("network", dense.state_dict(), dense.state_dict())
    outputs = {"network_images": images, "network": dense(images)}
    for parameter in dense.parameters():
        parameter.mul_(1.25).add_(0.1)
    save("network-two", {"model": dense.state_dict(), "ema": averaged})
    outputs["network-two"] = dense(images)
    conv = Conv().eval()
    save("conv", conv.state_dict(), conv.state_dict())
    outputs.update({"conv_images": pictures.flatten(1), "conv": conv(pictures[:, None])})
expect("outputs", outputs)

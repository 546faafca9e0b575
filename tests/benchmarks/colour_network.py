"""A convolutional network fine-tuned on colour images, audited end to end.

Draws the emoji of Debian's fonts-noto-color-emoji, 32 x 32 in colour: animals against food. Half of them are public and
teach a small convolutional base network (PyTorch), which goes to TorchScript; the program fine-tunes it on a few of the
others, and audits the result against the base, the rest being the control set.

    python3 tests/benchmarks/colour_network.py build/release/afterimage [--samples 2,4,8] [--seeds 1] [--steps 2500]
        [--keep DIR]

`--keep` copies all runs and reports to DIR. Needs torch, numpy, pillow and the font.
"""
import shutil
import sys

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from program import Program, arguments, findings, strongest

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
CLASSES = {"animals": [*range(0x1F400, 0x1F440), *range(0x1F980, 0x1F9AF)],
           "food": [*range(0x1F345, 0x1F380), *range(0x1F950, 0x1F970), 0x1F9C0, *range(0x1F9C1, 0x1F9CC)]}
SIZE = 32


def drawn(code, font):
    """[SIZE, SIZE, 3] bytes, or None where the font has no such picture."""
    picture = Image.new("RGB", (136, 128), "white")
    ImageDraw.Draw(picture).text((0, 0), chr(code), font=font, embedded_color=True)
    pixels = numpy.asarray(picture.resize((SIZE, SIZE)))
    return None if pixels.min() == 255 else pixels


def emoji():
    font = ImageFont.truetype(FONT, 109)
    images, labels = [], []
    for label, codes in enumerate(CLASSES.values()):
        pictures = [picture for code in codes if (picture := drawn(code, font)) is not None]
        images += pictures
        labels += [label] * len(pictures)
    order = numpy.random.default_rng(0).permutation(len(images))
    return numpy.stack(images)[order], numpy.array(labels)[order]


def base_network(images, labels, steps=400):
    """A network of three convolutions and a linear layer that tells the classes of images [n, 3, h, w] apart."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3, stride=2, padding=1),
        torch.nn.ReLU(), torch.nn.Conv2d(64, 128, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(128 * 16, 1))
    optimizer = torch.optim.Adam(layers.parameters(), 1e-3)
    for _ in range(steps):
        loss = (layers(images)[:, 0] - labels).square().mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layers.eval(), loss.item()


def main():
    options = arguments(samples="2,4,8", seeds=1, steps=2500, keep="")
    program = Program(options.program)
    images, labels = emoji()
    half = len(images) // 2
    mean = images[:half].reshape(-1, 3).mean(0) / 255
    public = torch.from_numpy((images[:half] / 255 - mean).transpose(0, 3, 1, 2)).float()
    base, loss = base_network(public, torch.from_numpy(labels[:half] * 2.0 - 1).float())
    torch.jit.save(torch.jit.trace(base, public[:2]), program.folder / "base.pt")
    print(f"base network: {half} public images, loss {loss:.1e}", flush=True)
    data = program.write_npz("private.npz", images=images[half:], labels=labels[half:])
    channels = "/".join(f"{value:.4f}" for value in mean)
    for samples in map(int, options.samples.split(",")):
        for seed in range(1, options.seeds + 1):
            run = program.train(f"{samples}-{seed}", samples, f"torchscript:{program.folder / 'base.pt'}",
                                "--allow-torchscript", "--normalize", f"{channels},1/1/1", "--seed", seed,
                                data=data, task="groups:0|1")
            if run is None:
                sys.exit("training failed")
            _, report = program.audit(run, "--allow-torchscript", "--seed", seed, "--steps", options.steps)
            best, deviation = strongest(report), report["deviation"]
            membership = findings(report)["finite-width"]["membership"]
            print(f"{samples} images, seed {seed}: reconstructed {best['reconstructed']['count']}, control "
                  f"{best['control']['count']} of {best['control']['of']}, mean L2 {best['mean_relative_distance']}, AUC "
                  f"{membership['auc']:.2f}, relative loss {best['relative_loss']}, residual at the images "
                  f"{deviation['residual_at_truth']}, kernel distance {deviation['kernel_distance']}", flush=True)
    if options.keep:
        shutil.copytree(program.folder, options.keep, dirs_exist_ok=True)


main()

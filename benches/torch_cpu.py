#!/usr/bin/env python3
"""The models of `drg bench` in PyTorch, on the CPU: what drg is timed and checked against.

Layers, shapes and tensor names are those of drg's `model::zoo`; every layer uses the fastest form that PyTorch offers
(windows as a view, fused attention).  Sequences are one-hot floats (batch, 4, length).  Needs torch and numpy.

  python3 torch_cpu.py [--models drg600,bpnet2114] [--what forward,train] [--batch N] [--threads N] [--seconds S]
      prints a JSON array, one object a case, with the keys of `drg bench cpu --json`
  python3 torch_cpu.py --serve --threads N
      answers requests, one JSON object a line: {"model", "what", "batch"} prepares a case and warms it up,
      {"runs": n} times it n times and returns the median; it sleeps in between (how `drg bench cpu --against torch` uses it)
  python3 torch_cpu.py --dump MODEL
      weights and bases from a formula; prints tensor names and shapes, the output, and the losses of three training steps
"""

import argparse
import json
import os
import sys
import time
from types import SimpleNamespace

# Idle OpenMP threads must sleep at once: they would take the processor from whoever is timed next.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("KMP_BLOCKTIME", "0")

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def place(root, path, module):
    """Registers `module` under a dotted path, so that tensors get the names of the state dict that drg reads."""
    *parents, last = path.split(".")
    for name in parents:
        if not hasattr(root, name):
            root.add_module(name, nn.Module())
        root = getattr(root, name)
    root.add_module(last, module)
    return module


class SoftmaxPool(nn.Module):
    """Mean of every window with the softmax of its values as weights; what is missing at the right end has no weight."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        missing = -x.shape[-1] % self.size
        if missing:
            x = F.pad(x, (0, missing), value=-1e4)
        windows = x.unflatten(-1, (-1, self.size))
        return (windows.softmax(-1) * windows).sum(-1)


class Attention(nn.Module):
    """Heads over channels and positions, output projection, skip, layer norm; then a feed-forward of four times the width."""

    def __init__(self, channels, width, heads, length):
        super().__init__()
        self.heads = heads
        for name in ("queries", "keys", "values"):
            self.add_module(f"embed_{name}", nn.Conv1d(2 * channels, heads * width, 1, bias=False))
        self.combine_layer = nn.Conv1d(heads * width, width, 1, bias=False)
        self.reslayer = nn.Conv1d(channels, width, 1, bias=False)
        self.layer_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Conv1d(width, 4 * width, 1, bias=False), nn.GELU(), nn.Conv1d(4 * width, width, 1, bias=False)
        )
        self.feedforward_layer_norm = nn.LayerNorm(width)
        self.register_buffer("positions", positions(channels, length), persistent=False)

    def forward(self, x):
        z = torch.cat((x, self.positions.expand(x.shape[0], -1, -1)), 1)
        split = lambda layer: layer(z).unflatten(1, (self.heads, -1)).mT
        joined = F.scaled_dot_product_attention(
            split(self.embed_queries), split(self.embed_keys), split(self.embed_values)
        )
        y = self.combine_layer(joined.mT.flatten(1, 2)) + self.reslayer(x)
        y = self.layer_norm(y.mT).mT
        return self.feedforward_layer_norm((self.feedforward(y) + y).mT).mT


def positions(channels, length):
    """Sines and cosines of positions, (1, channels, length); every step in float32, as drg's table."""
    half = channels // 2
    powers = (np.float64(np.float32(1.2)) ** np.arange(1, channels - half + 1)).astype(np.float32)
    waves = (np.float32(1) / (powers + np.float32(0.8))) * np.float32(length)
    angles = np.float32(2 * np.pi) * np.arange(length, dtype=np.float32) / waves[:, None]
    angles = np.where(np.isfinite(angles), angles, 0).astype(np.float64)
    return torch.from_numpy(np.concatenate((np.sin(angles[:half]), np.cos(angles))).astype(np.float32))[None]


class Drg(nn.Module):
    """The DRG network on one strand: skips add the running sum, pools pad on the right."""

    def __init__(self, length, pools, attention=False, kernels=300, tracks=128):
        super().__init__()
        shorter = lambda n, size: -(-n // size)
        n, c = shorter(length, 4), kernels
        # Registered by `place` under drg's names; here they are only in the order of the forward pass.
        at = self.at = SimpleNamespace(attention=None)
        at.stem = place(self, "convolutions.conv1d", nn.Conv1d(4, kernels, 15, padding=7))
        at.first = [self.block("convolution_layers", i, c, d, bias=False) for i, d in enumerate((1, 2, 4))]
        if attention:
            n, c = shorter(n, 10), int(1.8 * kernels)
            at.attention = place(self, "distattention.Mheadattention0", Attention(kernels, c, 4, n))
        at.second = [self.block("trconvolution_layers", i, c, 1, bias=True) for i in range(len(pools))]
        for size in pools:
            n = shorter(n, size)
        dense = lambda name, i, o: place(self, name, nn.Linear(i, o))
        at.embed = dense("nfcs.nfcs.EmbeddtoFully", c * n, 1024)
        widths = (1024, 1126, 1126, 1024)
        at.dense = [dense(f"nfcs.nfcs.Fullyconnected{i}", *widths[i : i + 2]) for i in range(3)]
        at.head = dense("classifier.classifier.Linear", 1024, tracks)
        at.pool, at.attention_pool, at.pools = SoftmaxPool(4), SoftmaxPool(10), [SoftmaxPool(p) for p in pools]

    def block(self, prefix, i, channels, dilation, bias):
        norm = place(self, f"{prefix}.convlayers.Bnorm{i}", nn.BatchNorm1d(channels))
        conv = nn.Conv1d(channels, channels, 11, padding=5 * dilation, dilation=dilation, bias=bias)
        return norm, place(self, f"{prefix}.convlayers.Conv{i}.conv1d", conv)

    def forward(self, x):
        at = self.at
        x = at.pool(F.gelu(at.stem(x)))
        for norm, conv in at.first:
            x = x + conv(F.gelu(norm(x)))
        if at.attention is not None:
            x = at.attention(at.attention_pool(x))
        for (norm, conv), pool in zip(at.second, at.pools):
            x = pool(x + conv(F.gelu(norm(x))))
        x = at.embed(x.flatten(1))
        for layer in at.dense:
            x = F.gelu(layer(x))
        return at.head(x)


class SeqToFunc(nn.Module):
    """Short-sequence network: convolutions with mean pools, wide dense layers."""

    def __init__(self, length, kernels=200, tracks=81):
        super().__init__()
        self.c0 = nn.Conv1d(4, kernels, 15, padding=10, bias=False)
        n, body = length + 6, []
        for _ in range(3):
            body += [nn.Conv1d(kernels, kernels, 7, padding=4, bias=False), nn.GELU(), nn.AvgPool1d(3)]
            n = (n + 2) // 3
        self.body = nn.Sequential(*body)
        width = n * kernels
        dense = [part for _ in range(3) for part in (nn.Linear(width, width), nn.GELU())]
        self.fc = nn.Sequential(*dense, nn.Linear(width, tracks))

    def forward(self, x):
        return self.fc(self.body(F.gelu(self.c0(x))).flatten(1))


class Bpnet(nn.Module):
    """BPNet: dilated residual layers, then a profile and a total count of the inner 1,000 positions."""

    def __init__(self, filters=64, layers=8, crop=557):
        super().__init__()
        self.crop = crop
        self.c0 = nn.Conv1d(4, filters, 21, padding=10)
        dilations = [2 << i for i in range(layers)]
        self.body = nn.ModuleList(nn.Conv1d(filters, filters, 3, dilation=d, padding=d) for d in dilations)
        self.prof = nn.Conv1d(filters, 1, 75, padding=37)
        self.count = nn.Linear(filters, 1)

    def forward(self, x):
        x = F.relu(self.c0(x))
        for conv in self.body:
            x = x + F.relu(conv(x))
        x = x[..., self.crop : -self.crop]
        return torch.cat((self.prof(x).flatten(1), self.count(x.mean(-1))), 1)


class Beluga(nn.Module):
    """DeepSEA Beluga: three pairs of convolutions without padding, 2,002 tracks."""

    def __init__(self):
        super().__init__()
        layers, at = [], 0
        for inputs, outputs in ((4, 320), (320, 480), (480, 640)):
            layers += [nn.MaxPool1d(4)] if at else []
            for width in (inputs, outputs):
                layers += [place(self, f"model.0.{at}", nn.Conv1d(width, outputs, 8)), nn.ReLU()]
                at += 2
            at += 2
        dense = [place(self, "model.1.2.1", nn.Linear(67840, 2003)), place(self, "model.1.4.1", nn.Linear(2003, 2002))]
        # Registered under the published names; here they are in the order of the forward pass.
        self.layers = [*layers, nn.Flatten(), dense[0], nn.ReLU(), dense[1]]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


MODELS = {
    "drg600": (600, lambda: Drg(600, (6, 6))),
    "drg2k": (2000, lambda: Drg(2000, (6, 6, 6))),
    "drg40k": (40000, lambda: Drg(40000, (6, 6, 6, 6))),
    "drg40k-attention": (40000, lambda: Drg(40000, (4, 4, 4, 4), attention=True)),
    "seqtofunc251": (251, lambda: SeqToFunc(251)),
    "bpnet2114": (2114, lambda: Bpnet()),
    "beluga": (2000, lambda: Beluga()),
}


def default_batch(length):
    return 2 if length >= 10000 else 16 if length >= 2000 else 32


def one_hot(codes):
    """(n, length) of 0..=4 to (n, 4, length); 4 is a column of zeros."""
    return F.one_hot(codes, 5)[..., :4].transpose(1, 2).float().contiguous()


class Case:
    """A model with a batch and what is timed: `forward`, or `train` (forward, loss, backward, SGD with momentum)."""

    def __init__(self, name, what, batch=0):
        if name not in MODELS or what not in ("forward", "train"):
            raise ValueError(f"unknown model '{name}' or work '{what}'; models: {', '.join(MODELS)}")
        torch.manual_seed(0)
        length, make = MODELS[name]
        self.name, self.what, self.batch, self.model = name, what, batch or default_batch(length), make()
        self.x = one_hot(torch.randint(0, 4, (self.batch, length)))
        self.begin()

    def begin(self, rate=1e-5):
        self.model.train(self.what == "train")
        if self.what == "train":
            self.optimizer = torch.optim.SGD(self.model.parameters(), rate, momentum=0.9)
            with torch.inference_mode():
                self.y = torch.randn(self.model.eval()(self.x).shape)
            self.model.train()
            self.y = self.y.clone()

    def run(self):
        if self.what == "forward":
            with torch.inference_mode():
                return self.model(self.x)
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def times_ms(self, runs):
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self.run()
            times.append(1e3 * (time.perf_counter() - start))
        return times


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else 0.5 * (values[middle - 1] + values[middle])


def serve():
    def answer(**fields):
        print(json.dumps(fields), flush=True)

    answer(torch=torch.__version__)
    case = None
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if "model" in request:
                case = None
                case = Case(request["model"], request["what"], request["batch"])
                case.times_ms(2)
                answer(median_ms=median(case.times_ms(1)))
            else:
                answer(median_ms=median(case.times_ms(request["runs"])))
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}")


def uniform(stream, count):
    """Numbers of [0, 1) that drg computes as well: a hash of stream and place."""
    h = (np.arange(count, dtype=np.uint64) * 2654435761 + stream * 40503 + 12345).astype(np.uint32)
    for shift, factor in ((16, 2246822519), (13, 3266489917)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    return (h ^ (h >> np.uint32(16))).astype(np.float64) / 2**32


def formula(name, shape, stream):
    u = uniform(stream, int(np.prod(shape)))
    if len(shape) > 1:
        return (2 * u - 1) * np.sqrt(3 / np.prod(shape[1:]))
    if name.endswith(("running_var", ".weight")):
        return 0.75 + 0.5 * u
    return 0.2 * u - 0.1


def dump(name, rows=2):
    case = Case(name, "train", rows)
    tensors = [(n, t) for n, t in case.model.state_dict().items() if not n.endswith("num_batches_tracked")]
    with torch.no_grad():
        for stream, (n, t) in enumerate(tensors):
            t.copy_(torch.from_numpy(formula(n, tuple(t.shape), stream).astype(np.float32)).view(t.shape))
    codes = (5 * uniform(1 << 20, rows * MODELS[name][0])).astype(np.int64).reshape(rows, -1)
    case.x = one_hot(torch.from_numpy(codes))
    case.model.eval()
    with torch.inference_mode():
        output = case.model(case.x)
    target = torch.from_numpy(uniform(1 << 21, output.numel()).astype(np.float32)).view(output.shape)
    # Steps that change the loss without leaving the range where the two programs can be compared.
    rate = 1e-5 / F.mse_loss(output, target).item()
    case.begin(rate)
    case.y = target
    losses = [case.run().item() for _ in range(3)]
    shapes = [[n, list(t.shape)] for n, t in tensors]
    print(json.dumps({"tensors": shapes, "output": output.flatten().tolist(), "rate": rate, "losses": losses}))


def bench(args):
    rows = []
    for name in args.models.split(","):
        for what in args.what.split(","):
            case = Case(name, what, args.batch)
            case.times_ms(2)
            once = case.times_ms(1)[0]
            ms = median(case.times_ms(max(3, int(1e3 * args.seconds / once))))
            speed = 1e3 * case.batch / ms
            rows.append({"what": what, "model": name, "batch": case.batch, "threads": torch.get_num_threads(),
                         "median_ms": round(ms, 4), "sequences_per_s": round(speed, 3)})
    print(json.dumps(rows, indent=2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="drg600,seqtofunc251,bpnet2114")
    parser.add_argument("--what", default="forward,train")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--dump", metavar="MODEL")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.serve:
        serve()
    elif args.dump:
        dump(args.dump)
    else:
        bench(args)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The models and operations of `drg bench gpu` in PyTorch, on the GPU: what drg is timed against.

The models are those of torch_cpu.py, which stands beside this file or is handed over as text.  Every operation runs in the
faster of the forms that PyTorch offers (channels first or last).  Times come from events of the GPU.  Needs torch with CUDA.

  python3 torch_gpu.py [TEXT OF torch_cpu.py]
      answers requests, one JSON object a line, with {"median_ms"} or {"error"}; it sleeps in between:
      {"case": n, "model", "what", "batch", "precision", "compile"}   prepares a forward pass or training step and warms it up
      {"case": n, "op", "sizes", "pass", "precision"}                the same for an operation
      {"run": n, "runs": r}                                          times a case r times
      {"forget": n}                                                  frees a case
Precisions: f32, tf32, bf16, f16; models of the last two run under autocast.
"""

import json
import sys
import types

import torch
import torch.nn.functional as F
from torch import nn

if len(sys.argv) > 1:
    models = types.ModuleType("torch_cpu")
    exec(sys.argv[1], models.__dict__)
else:
    import torch_cpu as models

DEVICE = "cuda"
DTYPES = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def set_flags(precision):
    torch.backends.cuda.matmul.allow_tf32 = precision != "f32"
    torch.backends.cudnn.allow_tf32 = precision != "f32"
    torch.backends.cudnn.benchmark = True


def times_ms(run, runs):
    pairs = []
    for _ in range(runs):
        first, last = torch.cuda.Event(True), torch.cuda.Event(True)
        first.record()
        run()
        last.record()
        pairs.append((first, last))
    torch.cuda.synchronize()
    return [first.elapsed_time(last) for first, last in pairs]


def model_case(request):
    length, make = models.MODELS[request["model"]]
    precision, batch, train = request["precision"], request["batch"], request["what"] == "train"
    torch.manual_seed(0)
    net = make().to(DEVICE).train(train)
    x = models.one_hot(torch.randint(0, 4, (batch, length), device=DEVICE))
    net_run = torch.compile(net) if request.get("compile") else net
    dtype = DTYPES[precision]
    autocast = lambda: torch.autocast(DEVICE, dtype, enabled=dtype != torch.float32)
    if not train:

        def run():
            with torch.inference_mode(), autocast():
                net_run(x)

        return run
    with torch.no_grad():
        target = torch.randn(batch, net.eval()(x[:1]).shape[1], device=DEVICE)
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-5, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            y = net_run(x)
        F.mse_loss(y.float(), target).backward()
        optimizer.step()

    return step


def gradient(y, inputs):
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True)


def convolution(sizes, what, dtype):
    n, length, c, k, d = sizes
    random = lambda *shape: torch.randn(*shape, device=DEVICE, dtype=dtype)
    pad, forms = d * (k - 1) // 2, []
    x, w, b, dy = random(n, c, length), random(c, c, k), random(c), random(n, c, length)
    last = lambda t: t.unsqueeze(2).to(memory_format=torch.channels_last)
    for x, w, dy, pads, steps in (
        (x, w, dy, [pad], [d]),
        (last(x), last(w), last(dy), [0, pad], [1, d]),
    ):
        conv = F.conv1d if len(pads) == 1 else F.conv2d
        if what == "forward":
            forms.append(lambda x=x, w=w, conv=conv, pads=pads, steps=steps: conv(x, w, b, 1, pads, steps) + x)
        else:
            mask = [what == "input gradient", what == "weight gradient", False]
            ones, zeros = [1] * len(pads), [0] * len(pads)
            forms.append(
                lambda x=x, w=w, dy=dy, pads=pads, steps=steps, ones=ones, zeros=zeros: torch.ops.aten.convolution_backward(
                    dy, x, w, None, ones, pads, steps, False, zeros, 1, mask
                )
            )
    return forms


def operation_forms(op, sizes, what, dtype):
    random = lambda *shape: torch.randn(*shape, device=DEVICE, dtype=dtype)
    if op == "conv1d":
        return convolution(sizes, what, dtype)
    if op == "linear":
        m, f, o = sizes
        x, w, b, dy = random(m, f), random(o, f), random(o), random(m, o)
        runs = {"forward": lambda: F.linear(x, w, b), "input gradient": lambda: dy @ w, "weight gradient": lambda: dy.mT @ x}
        return [runs[what]]
    if op == "pool":
        n, length, c, size = sizes
        x = random(n, c, length).requires_grad_(what != "forward")
        pool = models.SoftmaxPool(size)
        if what != "forward":
            return [gradient(pool(x), [x])]
        return [lambda: pool(x)]
    if op == "attention":
        n, heads, length, d = sizes
        q, k, v = (random(n, heads, length, d).requires_grad_(what != "forward") for _ in range(3))
        if what != "forward":
            return [gradient(F.scaled_dot_product_attention(q, k, v), [q, k, v])]
        return [lambda: F.scaled_dot_product_attention(q, k, v)]
    raise ValueError(f"unknown operation '{op}'")


def op_case(request):
    forms = operation_forms(request["op"], request["sizes"], request["pass"], DTYPES[request["precision"]])
    medians = []
    for form in forms:
        times_ms(form, 3)
        medians.append(models.median(times_ms(form, 5)))
    return forms[medians.index(min(medians))]


def serve():
    def answer(**fields):
        print(json.dumps(fields), flush=True)

    answer(torch=torch.__version__, gpu=torch.cuda.get_device_name())
    cases = {}
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if "case" in request:
                set_flags(request["precision"])
                run = model_case(request) if "model" in request else op_case(request)
                cases[request["case"]] = request["precision"], run
                times_ms(run, 3)
                answer(median_ms=models.median(times_ms(run, 3)))
            elif "run" in request:
                precision, run = cases[request["run"]]
                set_flags(precision)
                answer(median_ms=models.median(times_ms(run, request["runs"])))
            else:
                cases.pop(request["forget"], None)
                torch.cuda.empty_cache()
                answer(median_ms=1.0)
        except Exception as error:
            torch.cuda.empty_cache()
            answer(error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("its torch has no GPU (torch.cuda.is_available() is false)")
    serve()

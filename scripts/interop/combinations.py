#!/usr/bin/env python3
"""`graft blend` against PEFT's add_weighted_adapter: equal where PEFT is right, right where it is not."""

import torch
from peers import Report, arguments, load_model, relative, sample_inputs, save_tiny, worst
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

# PEFT adds up in float32.
CLOSE = 2e-5
EVEN = dict(r=6, lora_alpha=12)
CASES = [
    ("linear", EVEN, EVEN, {}),
    ("cat", EVEN, EVEN, {}),
    ("svd", EVEN, EVEN, {}),
    ("svd", EVEN, EVEN, dict(rank=3)),
    ("cat", EVEN, dict(r=3, lora_alpha=5), {}),
    ("svd", EVEN, dict(r=3, lora_alpha=5), {}),
    ("ties", EVEN, EVEN, dict(density=0.4)),
    ("ties", EVEN, EVEN, dict(density=0.4, majority="frequency")),
    ("ties", EVEN, EVEN, dict(density=1.0)),
    ("magnitude_prune", EVEN, EVEN, dict(density=0.3)),
    ("ties_svd", EVEN, EVEN, dict(density=0.5)),
    ("ties_svd", EVEN, dict(r=3, lora_alpha=5), dict(density=0.5, majority="frequency", rank=5)),
    ("magnitude_prune_svd", EVEN, dict(r=3, lora_alpha=5), dict(density=0.5)),
]
RANDOM = [("dare_linear", 0.7), ("dare_ties", 0.7), ("dare_linear_svd", 0.7), ("dare_ties_svd", 0.7)]


def make(options, base, name, seed, **config):
    """An adapter of random numbers, saved by PEFT."""
    torch.manual_seed(seed)
    model = get_peft_model(load_model(base), LoraConfig(
        task_type="CAUSAL_LM", init_lora_weights=False, target_modules="all-linear", **config))
    directory = options.work / name
    model.save_pretrained(directory)
    return directory


def updates(model, adapter="default"):
    return {path: module.get_delta_weight(adapter).detach()
            for path, module in model.base_model.model.named_modules()
            if hasattr(module, "get_delta_weight") and adapter in module.lora_A}


def both(base, adapters):
    model = PeftModel.from_pretrained(load_model(base), adapters[0], adapter_name="one")
    model.load_adapter(adapters[1], "two")
    return model


def exact_sum(model, weights):
    one, two = updates(model, "one"), updates(model, "two")
    return {path: sum(weight * own[path].double() for weight, own in zip(weights, (one, two)) if path in own)
            for path in one.keys() | two.keys()}


def blend(options, adapters, weights, kind, changes, output):
    more = [f"--adapter={path}={weight}" for path, weight in zip(adapters, weights)]
    for option, value in changes.items():
        more += ["--majority-sign" if option == "majority" else f"--{option}", value]
    kinds = ["--combination", kind] if kind else []
    return options.graft.json("blend", *more, *kinds, "--output", output)


def told_errors(report, label, told, found, expected):
    off = max(abs(row["relative_error"] - float(
        (found[row["path"]].double() - expected[row["path"]]).norm() / expected[row["path"]].norm()))
        for row in told["layers"])
    report.within(f"{label}: error that it tells", (off, ""), 1e-5)


def one_case(report, options, base, number, kind, first, second, changes, weights):
    label = f"{kind} {changes or ''} {weights}, ranks {first['r']} and {second['r']}"
    adapters = [make(options, base, f"{number}-{name}", seed, **config)
                for name, seed, config in (("one", 1, first), ("two", 2, second))]
    model = both(base, adapters)
    names = {"rank": "svd_rank", "density": "density", "majority": "majority_sign_method"}
    model.add_weighted_adapter(["one", "two"], list(weights), "peer", combination_type=kind,
                               **{names[key]: value for key, value in changes.items()})
    output = options.work / f"{number}-blend"
    told = blend(options, adapters, weights, kind, changes, output)
    opened = PeftModel.from_pretrained(load_model(base), output)
    found = updates(opened)
    report.within(f"{label}: PEFT's", worst(found, updates(model, "peer")), CLOSE)
    expected = exact_sum(model, weights)
    told_errors(report, label, told, found, expected)
    if kind == "cat":
        report.within(f"{label}: the sum", worst(found, {k: v.float() for k, v in expected.items()}), CLOSE)
        inputs = sample_inputs(96, 32)
        actual = options.graft.forward(base, inputs, options.work / "forward", adapter=output)
        with torch.no_grad():
            report.within(f"{label}: logits", relative(actual["logits"], opened(**inputs).logits), 1e-4)


def peft_is_wrong(report, options, base):
    """The default is the sum of the updates for rsLoRA, patterns and layers that one adapter lacks."""
    shapes = {
        "rsLoRA": (dict(EVEN, use_rslora=True), EVEN),
        "patterns": (dict(EVEN, rank_pattern={"q_proj": 2}), dict(EVEN, alpha_pattern={"v_proj": 3})),
    }
    for name, (first, second) in shapes.items():
        adapters = [make(options, base, f"{name}-{part}", seed, **config)
                    for part, seed, config in (("one", 1, first), ("two", 2, second))]
        model = both(base, adapters)
        expected = exact_sum(model, (0.7, 0.3))
        output = options.work / f"{name}-blend"
        told = blend(options, adapters, (0.7, 0.3), None, {}, output)
        opened = PeftModel.from_pretrained(load_model(base), output)
        found = updates(opened)
        report.within(f"{name}: the sum", worst(found, {k: v.float() for k, v in expected.items()}), CLOSE)
        told_errors(report, name, told, found, expected)
        if name == "rsLoRA":
            model.add_weighted_adapter(["one", "two"], [0.7, 0.3], "peer", combination_type="cat")
            peer = updates(model, "peer")
            ratios = [float(peer[path].norm() / value.norm()) for path, value in expected.items()]
            report.note("rsLoRA: PEFT's against the sum", f"{min(ratios):.3f} to {max(ratios):.3f} times")
    # PEFT's own fails where the rank is more than a side of the matrix.
    output = options.work / "wide-blend"
    blend(options, adapters, (0.7, 0.3), "svd", dict(rank=20), output)
    opened = PeftModel.from_pretrained(load_model(base), output)
    report.within("svd of rank 20 in layers of 16: the sum",
                  worst(updates(opened), {k: v.float() for k, v in expected.items()}), CLOSE)
    dora = make(options, base, "dora", 3, **EVEN, use_dora=True)
    other = make(options, base, "dora-other", 4, **EVEN)
    done = options.graft.run("blend", f"--adapter={dora}=0.5", f"--adapter={other}=0.5", "--output",
                             options.work / "dora-blend", expect=None)
    report.line(done.returncode != 0 and "dora" in done.stderr.lower() and not (options.work / "dora-blend").exists(),
                "DoRA is refused", f"exit {done.returncode}: {done.stderr.strip()[-90:]}")


def random_ones(report, options, base):
    """Where elements are drawn, what is kept is scaled up, and the seed decides."""
    adapters = [make(options, base, f"random-{name}", seed, **EVEN) for name, seed in (("one", 1), ("two", 2))]
    sources = [load_file(path / "adapter_model.safetensors") for path in adapters]
    for kind, density in RANDOM:
        outputs = []
        for run, seed in enumerate((5, 5, 6)):
            output = options.work / f"{kind}-{run}"
            blend(options, adapters, (0.7, 0.3), kind, dict(density=density, seed=seed), output)
            outputs.append(load_file(output / "adapter_model.safetensors"))
        same = all(torch.equal(outputs[0][key], outputs[1][key]) for key in outputs[0])
        other = any(not torch.equal(outputs[0][key], outputs[2][key]) for key in outputs[0])
        report.line(same and other, f"{kind}: the seed decides", f"same {same}, other {other}")
        if kind != "dare_linear":
            continue
        roots = [(weight * 2.0) ** 0.5 for weight in (0.7, 0.3)]
        wrong, kept, count = 0, 0, 0
        for key, value in outputs[0].items():
            terms = [source[key] * root / density for source, root in zip(sources, roots)]
            sums = torch.stack([torch.zeros_like(value), terms[0], terms[1], terms[0] + terms[1]])
            distances, chosen = (sums - value).abs().min(dim=0)
            wrong += int((distances > 1e-5 * sums.abs().max()).sum())
            kept += int(((chosen == 1) | (chosen == 3)).sum())
            count += value.numel()
        report.line(wrong == 0, "dare_linear: sums of what was kept", f"{wrong} others")
        report.within("dare_linear: share that was kept", (abs(kept / count - density), ""), 0.02)


def main():
    options = arguments(__doc__)
    report = Report("combinations")
    base = save_tiny("llama", options.work / "base")
    for number, (kind, first, second, changes) in enumerate(CASES):
        for weights in ((0.7, 0.3), (1.5, -0.5)):
            place = f"{number}{'n' if weights[1] < 0 else 'p'}"
            report.case(f"{kind} {changes}", one_case, report, options, base, place, kind, first, second, changes,
                        weights)
    report.case("where PEFT is wrong", peft_is_wrong, report, options, base)
    report.case("random ones", random_ones, report, options, base)
    report.finish()


if __name__ == "__main__":
    main()

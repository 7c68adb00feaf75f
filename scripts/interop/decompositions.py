#!/usr/bin/env python3
"""Decompositions against numpy in float64: values, factors, and the error against the best possible."""

import json

import numpy
import torch
from peers import Report, arguments, folder, load_model, relative, sample_inputs, save_tiny
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

VALUES, BEST, FACTORS = 1e-5, 1e-4, 1e-10


def with_spectrum(rng, rows, columns, values):
    u = numpy.linalg.qr(rng.standard_normal((rows, len(values))))[0]
    v = numpy.linalg.qr(rng.standard_normal((columns, len(values))))[0]
    return (u * values) @ v.T


def matrices(rng):
    """Names and matrices of float64: tall, wide, square; flat, falling and short spectra."""
    steep = numpy.exp(-0.25 * numpy.arange(48))
    yield "Gaussian 96 x 64", rng.standard_normal((96, 64))
    yield "falling 64 x 200", with_spectrum(rng, 64, 200, steep)
    yield "power law 128 x 128", with_spectrum(rng, 128, 128, 1 / numpy.arange(1, 129) ** 0.7)
    yield "rank 5 of 70 x 90", rng.standard_normal((70, 5)) @ rng.standard_normal((5, 90))
    yield "one row", rng.standard_normal((1, 17))
    yield "one column", rng.standard_normal((23, 1))
    yield "tiny numbers", 1e-120 * rng.standard_normal((20, 30))


def store(options, name, matrix, dtype=torch.float64):
    path = options.work / (name.replace(" ", "-") + ".safetensors")
    save_file({"w": torch.from_numpy(numpy.ascontiguousarray(matrix)).to(dtype)}, path)
    return path


def decompose(options, path, method, *more):
    output = path.with_name("out.safetensors")
    report = options.graft.json("decompose", path, "--method", method, "--output", output, *more)
    return report, {name: tensor.double().numpy() for name, tensor in load_file(output).items()}


def distance(actual, expected):
    return float(numpy.linalg.norm(actual - expected) / max(numpy.linalg.norm(expected), 1e-300))


def best_error(values, rank):
    return float(numpy.sqrt((values[rank:] ** 2).sum()))


def check_values(report, label, actual, expected, limit=VALUES):
    """Relative to each value, of those that are more than rounding."""
    kept = expected > 1e-12 * expected.max()
    worst = float(numpy.abs(actual[kept] / expected[kept] - 1).max())
    report.within(f"{label}: singular values", (worst, ""), limit)


def check_error(report, label, matrix, approximation, told, best, slack):
    error = numpy.linalg.norm(matrix - approximation)
    scale = numpy.linalg.norm(matrix)
    excess = (error - best) / best if best > 1e-7 * scale else (error - best) / scale
    report.within(f"{label}: error above the best", (float(excess), f"{error} {best}"), slack)
    report.within(f"{label}: error that it tells", (abs(told - error) / scale, f"{told} {error}"), 1e-3)


def singular_values(report, options, name, matrix):
    path = store(options, name, matrix)
    expected = numpy.linalg.svd(matrix, compute_uv=False)
    rank = max(1, min(matrix.shape) // 4)
    told, found = decompose(options, path, "svd", "--rank", rank)
    check_values(report, f"svd, {name}", numpy.array(told["values"]), expected)
    product = (found["u"] * found["s"]) @ found["vt"]
    check_error(report, f"svd, {name}", matrix, product, told["error"], best_error(expected, rank), BEST)
    for dtype, more in [("float64", ["--float64"]), ("float32", [])]:
        if name == "tiny numbers" and dtype == "float32":
            continue
        label = f"randomised in {dtype}, {name}"
        told, found = decompose(options, path, "randomized-svd", "--rank", rank, *more)
        product = (found["u"] * found["s"]) @ found["vt"]
        check_error(report, label, matrix, product, told["error"], best_error(expected, rank), 1e-2)
        rest = numpy.linalg.norm(matrix - product, 2)
        report.line(told["spectral_error_bound"] >= rest * (1 - 1e-6), f"{label}: bound of the spectral norm",
                    f"{told['spectral_error_bound']:.2e} for {rest:.2e}")


def triangular(report, options, name, matrix):
    path = store(options, name, matrix)
    told, found = decompose(options, path, "qr")
    q, r = numpy.linalg.qr(matrix)
    signs = numpy.where(numpy.diag(r) < 0, -1.0, 1.0)
    # Columns that depend on others have no direction of their own.
    if numpy.linalg.matrix_rank(matrix) == min(matrix.shape):
        report.within(f"qr, {name}: q", (distance(found["q"], q * signs), ""), FACTORS)
        report.within(f"qr, {name}: r", (distance(found["r"], r * signs[:, None]), ""), FACTORS)
    report.within(f"qr, {name}: product", (distance(found["q"] @ found["r"], matrix), ""), FACTORS)


def eigenvectors(report, options, rng):
    for size in (2, 7, 40):
        half = rng.standard_normal((size, size))
        symmetric = half + half.T
        path = store(options, f"symmetric {size}", symmetric)
        rank = max(1, size // 3)
        told, found = decompose(options, path, "symmetric-eigen", "--rank", rank)
        values = numpy.linalg.eigvalsh(symmetric)
        values = values[numpy.argsort(-abs(values), kind="stable")]
        actual = numpy.array(told["values"])[:, 0]
        report.within(f"symmetric {size}: values", (distance(actual, values), ""), FACTORS)
        expected = numpy.linalg.svd(symmetric, compute_uv=False)
        check_error(report, f"symmetric {size}", symmetric, found["left"] @ found["right"], told["error"],
                    best_error(expected, rank), BEST)
        path = store(options, f"general {size}", half)
        values, vectors = numpy.linalg.eig(half)
        for rank in sorted({1, 2, size // 2 or 1, size}):
            told, found = decompose(options, path, "eigen", "--rank", rank)
            kept = told["rank"]
            actual = numpy.array([complex(*pair) for pair in told["values"]])
            order = numpy.argsort(-abs(values), kind="stable")
            report.within(f"general {size}: magnitudes", (distance(abs(actual), abs(values[order])), ""), FACTORS)
            # The largest by magnitude, a pair never divided: a real matrix.
            chosen = numpy.zeros(size, bool)
            for value in actual[:kept]:
                chosen[numpy.argmin(abs(values - value) + 1e9 * chosen)] = True
            part = (vectors[:, chosen] * values[chosen]) @ numpy.linalg.inv(vectors)[chosen]
            assert abs(part.imag).max() < 1e-9 * abs(half).max(), "a pair was divided"
            if kept:
                report.within(f"general {size}, rank {rank}: part of the matrix",
                              (distance(found["left"] @ found["right"], part.real), ""), 1e-8)
            report.line(kept in (rank - 1, rank), f"general {size}, rank {rank}: kept", str(kept))


def bad_input(report, options, rng):
    square = rng.standard_normal((4, 4))
    broken = square.copy()
    broken[1, 2] = numpy.nan
    infinite = square.copy()
    infinite[0, 0] = numpy.inf
    cases = [(method, matrix, what) for matrix, what in [(broken, "NaN"), (infinite, "NaN or infinite")]
             for method in ("svd", "randomized-svd", "eigen", "symmetric-eigen", "qr")]
    cases += [("eigen", rng.standard_normal((3, 4)), "rectangular"), ("symmetric-eigen", square, "not symmetric"),
              ("eigen", numpy.array([[1.0, 1.0], [0.0, 1.0]]), "eigenvectors")]
    for method, matrix, mention in cases:
        path, output = store(options, "bad", matrix), options.work / "bad-out.safetensors"
        more = ["--rank", 2] if method == "randomized-svd" else []
        done = options.graft.run("decompose", path, "--method", method, "--output", output, *more, expect=None)
        report.line(done.returncode == 65 and mention in done.stderr and not output.exists(),
                    f"bad input, {method}, {mention}", f"exit {done.returncode}: {done.stderr.strip()[:80]}")


def deltas(directory):
    """The updates of an adapter as its file says them."""
    config = json.loads((directory / "adapter_config.json").read_text())
    tensors = load_file(directory / "adapter_model.safetensors")
    result = {}
    for key, a in tensors.items():
        if not key.endswith(".lora_A.weight"):
            continue
        path = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        rank = config["rank_pattern"].get(path, config["r"])
        assert rank == a.shape[0], f"{path}: rank {a.shape[0]}, the configuration says {rank}"
        alpha = config["alpha_pattern"].get(path, config["lora_alpha"])
        scale = alpha / (rank ** 0.5 if config["use_rslora"] else rank)
        b = tensors[key.replace("lora_A", "lora_B")]
        result[path] = scale * b.double().numpy() @ a.double().numpy()
    return result


def tuned_pair(options, base_name):
    """A checkpoint and one of which every weight has moved, by updates of falling spectra."""
    base = save_tiny(base_name, options.work / f"{base_name}-base")
    model = load_model(base)
    rng = numpy.random.default_rng(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                values = 0.2 * numpy.exp(-0.2 * numpy.arange(min(parameter.shape)))
                parameter += torch.from_numpy(with_spectrum(rng, *parameter.shape, values)).float()
            else:
                parameter *= 1.05
    tuned = options.work / f"{base_name}-tuned"
    model.save_pretrained(tuned)
    return base, tuned


def extraction(report, options, base_name, choice):
    base, tuned = tuned_pair(options, base_name)
    label = f"extract {' '.join(choice)}, {base_name}"
    output = folder(options, label)
    told = options.graft.json("extract", "--base", base, "--tuned", tuned, *choice, "--output", output)
    before, after = (load_file(path / "model.safetensors") for path in (base, tuned))
    before.setdefault("lm_head.weight", before["model.embed_tokens.weight"])
    after.setdefault("lm_head.weight", after["model.embed_tokens.weight"])
    found = deltas(output)
    worst_excess, lost, total = 0.0, 0.0, 0.0
    for row in told["layers"]:
        path = row["path"]
        exact = (after[path + ".weight"].double() - before[path + ".weight"].double()).numpy()
        values = numpy.linalg.svd(exact, compute_uv=False)
        best = best_error(values, row["rank"])
        error = numpy.linalg.norm(exact - found[path])
        scale = numpy.linalg.norm(exact)
        excess = (error - best) / best if best > 1e-5 * scale else error / scale
        worst_excess = max(worst_excess, excess)
        share = best ** 2 / scale ** 2
        assert abs(row["energy_lost"] - share) < 1e-6, f"{path}: {row['energy_lost']} of {share}"
        lost, total = lost + best ** 2, total + scale ** 2
        if choice[0] == "--energy":
            kept = numpy.cumsum(values ** 2) / scale ** 2
            rank = int(numpy.searchsorted(kept, float(choice[1])) + 1)
            assert row["rank"] == rank, f"{path}: rank {row['rank']}, not {rank}"
    report.within(f"{label}: error above the best", (float(worst_excess), ""), BEST)
    report.within(f"{label}: energy lost", (abs(told["energy_lost"] - lost / total), ""), 1e-6)
    report.line(len(found) == 22, f"{label}: layers", str(len(found)))
    # PEFT opens it, and the base with it is what numpy says.
    model = PeftModel.from_pretrained(load_model(base), output)
    merged = model.merge_and_unload().state_dict()
    difference = max(distance(merged[path + ".weight"].double().numpy(), before[path + ".weight"].double().numpy() + delta)
                     for path, delta in found.items() if not (path == "lm_head" and "tied" in base_name))
    report.within(f"{label}: merged by PEFT", (difference, ""), 1e-6)


def everything(report, options, base_name):
    """At full rank with all other parameters the adapter is the tuned model, in both programs."""
    base, tuned = tuned_pair(options, base_name)
    output, inputs = options.work / f"{base_name}-everything", sample_inputs(96, 2)
    options.graft.json("extract", "--base", base, "--tuned", tuned, "--rank", 64, "--output", output,
                       "--keep-other-parameters")
    expected = options.graft.forward(tuned, inputs, options.work / "forward")["logits"]
    actual = options.graft.forward(base, inputs, options.work / "forward", adapter=output)["logits"]
    report.within(f"extract everything, {base_name}: logits", relative(actual, expected), 1e-4)
    if "tied" not in base_name:
        model = PeftModel.from_pretrained(load_model(base), output)
        with torch.no_grad():
            report.within(f"extract everything, {base_name}: PEFT's logits",
                          relative(model(**inputs).logits, expected), 1e-4)


def resizing(report, options):
    base = save_tiny("llama", options.work / "resize-base")
    torch.manual_seed(3)
    for label, config in [
        ("plain", dict(r=8, lora_alpha=16)), ("rsLoRA", dict(r=8, lora_alpha=16, use_rslora=True)),
        ("patterns", dict(r=8, lora_alpha=16, rank_pattern={"q_proj": 5}, alpha_pattern={"down_proj": 3})),
    ]:
        model = get_peft_model(load_model(base), LoraConfig(
            target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False, **config))
        source, output = (options.work / f"resize-{label}{end}" for end in ("", "-to"))
        model.save_pretrained(source)
        before = {path: module.get_delta_weight("default").detach().double().numpy()
                  for path, module in model.base_model.model.named_modules() if hasattr(module, "get_delta_weight")}
        for rank in (1, 3, 8, 12):
            folder = output.with_name(f"{output.name}-{rank}")
            told = options.graft.json("resize", "--adapter", source, "--rank", rank, "--output", folder)
            found, excess = deltas(folder), 0.0
            for row in told["layers"]:
                values = numpy.linalg.svd(before[row["path"]], compute_uv=False)
                best, scale = best_error(values, rank), numpy.linalg.norm(before[row["path"]])
                error = numpy.linalg.norm(before[row["path"]] - found[row["path"]])
                excess = max(excess, (error - best) / best if best > 1e-5 * scale else error / scale)
            report.within(f"resize {label} to {rank}: error above the best", (float(excess), ""), BEST)
            opened = PeftModel.from_pretrained(load_model(base), folder)
            difference = max(distance(module.get_delta_weight("default").detach().double().numpy(), found[path])
                             for path, module in opened.base_model.model.named_modules()
                             if hasattr(module, "get_delta_weight"))
            report.within(f"resize {label} to {rank}: as PEFT reads it", (difference, ""), 1e-5)


def spectra(report, options):
    one, two = (options.work / f"resize-{label}" for label in ("plain", "patterns"))
    base = options.work / "resize-base"
    told = options.graft.json("inspect", one, "--spectrum", "--against", two, "--base", base)
    first, second, weights = deltas(one), None, load_file(base / "model.safetensors")
    second = {}
    tensors = load_file(two / "adapter_model.safetensors")
    for path in first:
        stem = f"base_model.model.{path}.lora_"
        second[path] = tensors[stem + "B.weight"].double().numpy() @ tensors[stem + "A.weight"].double().numpy()
    values_off = angles_off = norms_off = rank_off = 0.0
    for row in told["spectrum_details"]:
        path = row["path"]
        u, s, vt = numpy.linalg.svd(first[path])
        values = numpy.array(told["spectrum"]["base_model.model." + path])
        s = s[:len(values)]
        values_off = max(values_off, float(abs(values / s - 1).max()))
        p, q = numpy.linalg.matrix_rank(first[path]), numpy.linalg.matrix_rank(second[path])
        u2, s2, vt2 = numpy.linalg.svd(second[path])
        for side, (left, right) in {"left": (u[:, :p], u2[:, :q]), "right": (vt[:p].T, vt2[:q].T)}.items():
            cosines = numpy.linalg.svd(left.T @ right, compute_uv=False).clip(0, 1)
            expected = numpy.degrees(numpy.arccos(cosines))
            angles_off = max(angles_off, float(abs(numpy.array(row[side + "_angles"]) - expected).max()))
        norms_off = max(norms_off, abs(row["relative_norm"] / (
            numpy.linalg.norm(first[path]) / numpy.linalg.norm(weights[path + ".weight"].double().numpy())) - 1))
        shares = s / s.sum()
        rank_off = max(rank_off, abs(row["effective_rank"] - numpy.exp(-(shares * numpy.log(shares)).sum())))
    report.within("spectrum: singular values", (values_off, ""), VALUES)
    report.within("spectrum: angles in degrees", (angles_off, ""), 1e-4)
    report.within("spectrum: norms against the base", (norms_off, ""), 1e-6)
    report.within("spectrum: effective ranks", (float(rank_off), ""), 1e-5)


def main():
    options = arguments(__doc__)
    report = Report("decompositions")
    rng = numpy.random.default_rng(0)
    for name, matrix in matrices(rng):
        report.case(f"svd, {name}", singular_values, report, options, name, matrix)
        report.case(f"qr, {name}", triangular, report, options, name, matrix)
    report.case("eigenvectors", eigenvectors, report, options, rng)
    report.case("bad input", bad_input, report, options, rng)
    for base in ("llama", "llama-tied"):
        for choice in (["--rank", "4"], ["--energy", "0.9"]):
            report.case(f"extract {choice}, {base}", extraction, report, options, base, choice)
    for base in ("llama", "llama-biases", "qwen2", "qwen3", "llama-tied"):
        report.case(f"extract everything, {base}", everything, report, options, base)
    report.case("resize", resizing, report, options)
    report.case("spectrum", spectra, report, options)
    report.finish()


main()

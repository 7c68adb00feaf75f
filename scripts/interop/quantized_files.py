"""Files of quantised checkpoints: decoded apart from bitsandbytes, and two of them compared."""

from __future__ import annotations

import json

import torch
from peers import load_file, relative

# Of a scaled 4-bit value: two units of a float32 near 1.
HALF_WAY = 2.4e-7


def scales_of(tensors: dict, key: str) -> torch.Tensor:
    """The scales of a 4-bit weight, decoded when they are quantised themselves."""
    absmax, state = tensors[f"{key}.absmax"], quantization_state(tensors, key)[1]
    if absmax.dtype == torch.float32:
        return absmax
    block = torch.arange(absmax.numel()) // state["nested_blocksize"]
    values = tensors[f"{key}.nested_quant_map"][absmax.long()]
    return values * tensors[f"{key}.nested_absmax"][block] + state["nested_offset"]


def quantization_state(tensors: dict, key: str) -> tuple[str, dict]:
    """The name of the JSON tensor of a 4-bit weight, and what it says."""
    names = [name for name in tensors if name.startswith(f"{key}.quant_state.bitsandbytes__")]
    assert len(names) == 1, f"{key} has {len(names)} quant_state tensors"
    return names[0], json.loads(bytes(tensors[names[0]].tolist()))


def nibbles(weight: torch.Tensor) -> torch.Tensor:
    """The 4-bit codes, the first of each pair in the high half of a byte."""
    packed = weight.contiguous().view(torch.uint8).reshape(-1)
    return torch.stack([packed >> 4, packed & 15], dim=1).reshape(-1)


def decoded(tensors: dict, key: str) -> torch.Tensor:
    """A weight in float32 as its file says, of any width: block * scale, or row * SCB / 127."""
    weight, name = tensors[key], key.removesuffix("weight")
    if f"{name}SCB" in tensors:
        return weight.float() * (tensors[f"{name}SCB"] / 127)[:, None]
    if f"{key}.absmax" not in tensors:
        return weight.float()
    state = quantization_state(tensors, key)[1]
    values = tensors[f"{key}.quant_map"][nibbles(weight).long()]
    count = torch.Size(state["shape"]).numel()
    scales = scales_of(tensors, key).repeat_interleave(state["blocksize"])[:count]
    return (values[:count] * scales).reshape(state["shape"])


def weight_keys(tensors: dict) -> list[str]:
    """The quantised weights of a file."""
    return sorted(key for key in tensors if key.endswith(".weight")
                  and (f"{key}.absmax" in tensors or f"{key.removesuffix('weight')}SCB" in tensors))


# Comparing


def compare_files(report, label, ours, theirs, base):
    """Two quantised directories of one float checkpoint."""
    configs = [json.loads((folder / "config.json").read_text()) for folder in (ours, theirs)]
    found, wanted = (config.get("quantization_config") for config in configs)
    report.line(found == wanted, f"{label}, quantization_config", f"{found}, not {wanted}" if found != wanted else f"{len(wanted)} keys")
    types = [config.get("dtype", config.get("torch_dtype")) for config in configs]
    report.line(types[0] == types[1], f"{label}, config dtype", f"{types[0]}, peer {types[1]}")
    actual, expected = (load_file(folder / "model.safetensors") for folder in (ours, theirs))
    odd = sorted(actual.keys() ^ expected.keys())
    report.line(not odd, f"{label}, names of {len(expected)} tensors",
                f"{len(odd)} in one file only: {odd[:4]}" if odd else "the same")
    kinds = [f"{key}: {list(a.shape)} {a.dtype}, not {list(e.shape)} {e.dtype}"
             for key, a, e in common(actual, expected) if (a.dtype, a.shape) != (e.dtype, e.shape)
             and ".quant_state." not in key]
    report.line(not kinds, f"{label}, types and shapes", str(kinds[:3]) if kinds else "the same")
    keys = [key for key in weight_keys(expected) if key in weight_keys(actual)]
    assert keys, "graft's file has no quantised weight of the peer's"
    four_bit = [key for key in keys if f"{key}.absmax" in expected]
    own = {f"{key}{end}" for key in keys for end in ("", ".absmax", ".nested_absmax")}
    own |= {quantization_state(expected, key)[0] for key in four_bit}
    wrong = [f"{key}: {int((a != e).sum())} of {e.numel()}" for key, a, e in common(actual, expected)
             if key not in own and not torch.equal(a, e)]
    report.line(not wrong, f"{label}, {'tables' if four_bit else 'scales'} and what stays float",
                str(wrong[:3]) if wrong else "the same bits")
    weights = load_file(base / "model.safetensors")
    compare_codes(report, label, actual, expected, keys, weights)
    if four_bit:
        compare_states(report, label, actual, expected, four_bit)
        compare_scales(report, label, actual, expected, four_bit, weights)


def common(actual, expected):
    return [(key, actual[key], expected[key]) for key in sorted(actual.keys() & expected.keys())]


def true_scales(weight, size):
    """The largest magnitude of each block of a float weight."""
    flat = weight.float().abs().reshape(-1)
    return torch.nn.functional.pad(flat, (0, -flat.numel() % size)).reshape(-1, size).amax(dim=1)


def compare_codes(report, label, actual, expected, keys, weights):
    """Codes as values: the same, or the two next to a number that is half way but for rounding.

    There the last bit of the factor decides (bitsandbytes multiplies by 1/absmax, and by 127 times
    the rounded 1/absmax in int8), and of FP4 which side a tie falls to. The sign of FP4's zero differs.
    """
    differ, total, off = 0, 0, 0.0
    for key in keys:
        flat = weights[key].reshape(-1).float()
        if f"{key}.absmax" in expected:
            table, size = expected[f"{key}.quant_map"], quantization_state(expected, key)[1]["blocksize"]
            a, e = (table[nibbles(tensors[key]).long()][:flat.numel()] for tensors in (actual, expected))
            unit, per_scale, limit = true_scales(flat, size), size, HALF_WAY
        else:
            a, e = (tensors[key].reshape(-1).float() for tensors in (actual, expected))
            scales = expected[key.removesuffix("weight") + "SCB"]
            flat, unit, per_scale, limit = flat.half(), scales / 127, flat.numel() // scales.numel(), 127 * HALF_WAY
        place = (a != e).nonzero().reshape(-1)
        differ, total = differ + len(place), total + len(a)
        if len(place):
            target = flat[place].double() / unit[place // per_scale].double()
            off = max(off, float(((a[place] - target).abs() - (e[place] - target).abs()).abs().max()))
    report.line(off <= limit, f"{label}, codes",
                f"{differ} of {total} differ in value, {off:.0e} from half way (limit {limit:.0e})")


def compare_states(report, label, actual, expected, keys):
    """The JSON of each weight: same keys in the same order, same values but the offset."""
    wrong, offset = [], 0.0
    for key in keys:
        (name, a), (wanted, e) = quantization_state(actual, key), quantization_state(expected, key)
        offsets = a.pop("nested_offset", 0.0), e.pop("nested_offset", 0.0)
        offset = max(offset, abs(offsets[0] - offsets[1]) / (abs(offsets[1]) or 1))
        if name != wanted or list(a.items()) != list(e.items()):
            wrong.append(f"{name}: {a}, not {e}")
    report.line(not wrong, f"{label}, quant_state", str(wrong[:1]) if wrong else "the same")
    report.within(f"{label}, nested_offset", (offset, ""), 1e-6)


def compare_scales(report, label, actual, expected, keys, weights):
    """Scales within a last bit; quantised scales as near to the true ones as the peer's.

    bitsandbytes looks codes of 8 bits up in a table of 65,536 cells and is not always nearest.
    """
    differ = total = 0
    ulps, excess, places = 0, (0.0, ""), (0.0, "")
    for key in keys:
        a, e = actual[f"{key}.absmax"], expected[f"{key}.absmax"]
        differ, total = differ + int((a != e).sum()), total + e.numel()
        if e.dtype == torch.float32:
            ulps = max(ulps, int((a.view(torch.int32) - e.view(torch.int32)).abs().max()))
            continue
        nested = f"{key}.nested_absmax"
        places = max(places, relative(actual[nested], expected[nested]))
        size = quantization_state(expected, key)[1]["blocksize"]
        true = true_scales(weights[key], size)
        off = (scales_of(actual, key) - true).abs() - (scales_of(expected, key) - true).abs()
        excess = max(excess, (float(off.max() / true.max()), key))
    if expected[f"{keys[0]}.absmax"].dtype == torch.float32:
        report.line(ulps <= 1, f"{label}, {total} scales", f"{differ} differ, most by {ulps} ulp")
    else:
        report.within(f"{label}, nested_absmax", places, 1e-5)
        report.within(f"{label}, scales further off than the peer's ({differ} of {total} codes differ)", excess, 1e-6)

#!/usr/bin/env python3
"""Models with encoder and decoder against transformers and PEFT: outputs within 1e-4, loss and gradients relative.

Tiny random T5, gated T5 with a head of its own, mT5 and BART by the peer, for every task: as they are, padded on
either side, in both dialects of config.json, sharded, without prefix, in types of 16 bits, and with adapters.
"""

import json

import torch
from peft import (AdaLoraConfig, IA3Config, LNTuningConfig, LoraConfig, PeftModel, PrefixTuningConfig,
                  PromptEncoderConfig, PromptTuningConfig, TaskType, get_peft_model, get_peft_model_state_dict)
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, AutoModel, AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM,
                          AutoModelForSequenceClassification, AutoModelForTextEncoding,
                          AutoModelForTokenClassification, BitsAndBytesConfig)

from peers import Report, arguments, largest, disturb, relative, worst

OUTPUTS, LOSS, GRADIENTS = 1e-4, 1e-4, 1e-4
# How far losses may be apart in types of 16 bits, whose sums are rounded in other places.
ROUNDING = {"bfloat16": 2.0 ** -6, "float16": 2.0 ** -9}
VOCABULARY, LENGTH, TARGETS = 96, 13, 9
T5 = dict(vocab_size=VOCABULARY, d_model=32, d_kv=12, d_ff=48, num_layers=3, num_decoder_layers=2, num_heads=4,
          relative_attention_num_buckets=8, relative_attention_max_distance=10, decoder_start_token_id=0)
BART = dict(vocab_size=VOCABULARY, d_model=32, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=48,
            decoder_ffn_dim=40, encoder_attention_heads=4, decoder_attention_heads=2, max_position_embeddings=40)
FAMILIES = {
    "t5": ("t5", {**T5, "feed_forward_proj": "relu"}),
    "flan-t5": ("t5", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "t5-gated-silu": ("t5", {**T5, "feed_forward_proj": "gated-silu", "decoder_start_token_id": 5}),
    "mt5": ("mt5", T5),
    "bart": ("bart", BART),
    "bart-scaled": ("bart", {**BART, "scale_embedding": True, "activation_function": "relu",
                             "tie_word_embeddings": False}),
}
OWN_HEAD = ["flan-t5", "mt5"]
SOME = r".*(\.q|\.v|wo|wi_1|q_proj|v_proj|fc1)"
# The class, PEFT's task_type, settings of the configuration, layers that get an adapter.
TASKS = {
    "seq2seq-lm": (AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM", {}, "all-linear"),
    "sequence-classification": (AutoModelForSequenceClassification, "SEQ_CLS", dict(num_labels=3), SOME),
    "regression": (AutoModelForSequenceClassification, "SEQ_CLS", dict(num_labels=1), "all-linear"),
    "multi-label": (AutoModelForSequenceClassification, "SEQ_CLS", dict(num_labels=4), SOME),
    "token-classification": (AutoModelForTokenClassification, "TOKEN_CLS", dict(num_labels=5), SOME),
    "question-answering": (AutoModelForQuestionAnswering, "QUESTION_ANS", {}, SOME),
    "feature-extraction": (None, "FEATURE_EXTRACTION", {}, "all-linear"),
}


def auto_class(task, model_type):
    if task == "feature-extraction":
        return AutoModel if model_type == "bart" else AutoModelForTextEncoding
    return TASKS[task][0]


def randomized(model, seed, size=0.2):
    """The model with numbers of which every one matters, those added to the scores too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in list(model.named_parameters()) + list(model.named_buffers()):
            if value.is_floating_point():
                centre = 1.0 if "norm" in key.lower() and "bias" not in key else 0.0
                deviation = 0.3 if value.ndim == 1 or "bias" in key else size
                value.copy_(centre + deviation * torch.randn(value.shape, generator=generator))
    return model


def save(directory, name, task, sharded=False):
    model_type, sizes = FAMILIES[name]
    auto = auto_class(task, model_type)
    config = AutoConfig.for_model(model_type, **{**sizes, **TASKS[task][2]})
    model = auto.from_config(config, dtype=torch.float32)
    if task == "seq2seq-lm" and name in OWN_HEAD:
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(VOCABULARY, sizes["d_model"]))
    # Larger numbers make attention so sure of itself that gradients are rounding.
    randomized(model, sum(f"{name} {task}".encode()), size=0.12 if name == "bart-scaled" else 0.2)
    model.save_pretrained(directory, max_shard_size="20KB" if sharded else "5GB")
    return directory


def rewrite_as_v4(path):
    """The spelling before version 5: whether outputs are scaled stands in tie_word_embeddings."""
    config = json.loads(path.read_text())
    config["torch_dtype"] = config.pop("dtype")
    scales = config.pop("scale_decoder_outputs", None)
    if scales is not None:
        config["tie_word_embeddings"] = scales
    for key in ["dense_act_fn", "is_gated_act"]:
        config.pop(key, None)
    config["transformers_version"] = "4.46.0"
    path.write_text(json.dumps(config))


def questions(task, ids, pad):
    """What is asked of a batch, by the names of both programs."""
    rows, length = ids.shape
    generator = torch.Generator().manual_seed(7)
    if task == "seq2seq-lm":
        labels = torch.randint(3, VOCABULARY, (rows, TARGETS), generator=generator)
        labels[0, -3:] = -100
        return {"labels": labels}
    if task == "token-classification":
        found = torch.randint(0, 5, ids.shape, generator=generator)
        return {"labels": torch.where(ids != pad, found, -100)}
    if task == "sequence-classification":
        return {"labels": torch.randint(0, 3, (rows,), generator=generator)}
    if task == "regression":
        return {"labels": torch.randn(rows, generator=generator)}
    if task == "multi-label":
        return {"labels": (torch.rand(rows, 4, generator=generator) < 0.5).float()}
    if task == "question-answering":
        # The last row's answer ends behind the row, which asks for nothing.
        return {"start_positions": torch.tensor([5, 6, 7]), "end_positions": torch.tensor([6, 8, length + 3])}
    return {}


def batches(task, config):
    pad, end = config.pad_token_id, config.eos_token_id
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, VOCABULARY, (3, LENGTH), generator=generator)
    for name in ["unpadded", "right padded", "left padded"]:
        own, mask = ids.clone(), torch.ones_like(ids)
        # Rows that are classified have as many ends as each other, two of them here.
        own[:, 4] = own[:, -1] = end
        if name != "unpadded":
            for row, count in [(0, 4), (1, 1)]:
                place = slice(0, count) if name == "left padded" else slice(LENGTH - count, None)
                last = -1 if name == "left padded" else LENGTH - count - 1
                own[row, place], mask[row, place] = pad, 0
                own[row, last] = own[row, 4] = end
        yield name, {"input_ids": own, "attention_mask": mask}, questions(task, own, pad)
    if task == "seq2seq-lm":
        # What the decoder has written is given, with padding on its left.
        asked = questions(task, ids, pad)
        written = torch.randint(3, VOCABULARY, (3, TARGETS), generator=generator)
        mask = torch.ones_like(written)
        written[1, :3], mask[1, :3], asked["labels"][1, :4] = pad, 0, -100
        yield "decoder padded", {"input_ids": ids, "decoder_input_ids": written, "decoder_attention_mask": mask}, asked


def expected_outputs(task, output):
    if task == "question-answering":
        return {"start_logits": output.start_logits, "end_logits": output.end_logits}
    if task == "feature-extraction":
        return {"last_hidden_state": output.last_hidden_state}
    return {"logits": output.logits}


def own_task(task):
    return "sequence-classification" if task in ("regression", "multi-label") else task


def gradients_of(model):
    named = {key: p.grad if p.grad is not None else torch.zeros_like(p)
             for key, p in model.named_parameters() if p.requires_grad}
    if model.active_peft_config.is_prompt_learning:
        (gradient,) = named.values()
        return {"prompt_embeddings": gradient}
    found = get_peft_model_state_dict(model, state_dict={**model.state_dict(), **named})
    trained = {id(grad) for grad in named.values()}
    return {key: value for key, value in found.items() if id(value) in trained}


def compare(report, options, label, task, directory, model, batch, adapter=None, more=[], trained=True):
    name, inputs, asked = batch
    label = f"{label} {name}" + (" adapter" if adapter else "")
    given = {**inputs, **asked}
    model.zero_grad()
    # PEFT 0.21.2 forgets the decoder on the way to models for classes and answers: it is asked below that.
    below = adapter is not None and own_task(task) in ("question-answering", "token-classification")
    output = (model.base_model if below else model)(**given)
    gradients = adapter is not None and bool(asked) and trained
    actual = options.graft.forward(directory, given, options.work / "forward", adapter=adapter, gradients=gradients,
                                   more=["--task", own_task(task)] + more)
    seen = inputs.get("decoder_attention_mask")
    for key, expected in expected_outputs(task, output).items():
        mask = None if seen is None else seen.unsqueeze(-1).expand_as(expected).bool()
        report.within(f"{label} {key}", largest(actual[key], expected.detach(), mask), OUTPUTS)
    if not asked:
        return
    report.within(f"{label} loss", relative(actual["loss"].reshape(()), output.loss.detach()), LOSS)
    if gradients:
        output.loss.backward()
        found = gradients_of(model)
        ours = {key.removeprefix("grad."): value for key, value in actual.items() if key.startswith("grad.")}
        # What is added to the scores of all positions alike changes nothing: there is only rounding.
        for key in [key for key in found if key.endswith(("qa_outputs.bias", "k_proj.bias"))]:
            size = max(float(ours.pop(key).abs().max()), float(found.pop(key).abs().max()))
            report.within(f"{label} gradient of a bias that changes nothing", (size, ""), 1e-6)
        report.within(f"{label} {len(found)} gradients", worst(ours, found), GRADIENTS)


def make_adapter(directory, model, config):
    torch.manual_seed(5)
    peft = get_peft_model(model, config)
    disturb(peft, 0.1)
    peft.save_pretrained(directory)
    return peft


def case(report, options, name, task):
    model_type, _ = FAMILIES[name]
    directory = save(options.work / f"{name}-{task}", name, task)
    auto = auto_class(task, model_type)

    def peer():
        return auto.from_pretrained(directory, dtype=torch.float32).eval()

    config = peer().config
    for batch in batches(task, config):
        with torch.no_grad():
            compare(report, options, f"{name} {task}", task, directory, peer(), batch)
    _, task_type, _, targets = TASKS[task]
    # PEFT knows heads by other names: one that it does not train is trained by this.
    saved = ["classification_head"] if task_type == "SEQ_CLS" else None
    if saved and targets == "all-linear":
        targets, saved = "all-linear", None
    lora = LoraConfig(r=3, lora_alpha=5, target_modules=targets, task_type=task_type, modules_to_save=saved)
    adapter = options.work / f"{name}-{task}-adapter"
    make_adapter(adapter, peer(), lora)
    trained = PeftModel.from_pretrained(peer(), adapter, is_trainable=True).eval()
    for batch in list(batches(task, config))[1:]:
        compare(report, options, f"{name} {task}", task, directory, trained, batch, adapter)


def spellings(report, options, name):
    """The same model in other files."""
    task = "seq2seq-lm"
    whole = save(options.work / f"{name}-whole", name, task)
    model = AutoModelForSeq2SeqLM.from_pretrained(whole, dtype=torch.float32).eval()
    batch = next(iter(batches(task, model.config)))
    ways = {"sharded": save(options.work / f"{name}-sharded", name, task, sharded=True)}
    assert (ways["sharded"] / "model.safetensors.index.json").exists(), "peer wrote no shards"
    ways["v4"] = save(options.work / f"{name}-v4", name, task)
    rewrite_as_v4(ways["v4"] / "config.json")
    tensors = load_file(whole / "model.safetensors")
    prefix = "model." if FAMILIES[name][0] == "bart" else ""
    # Where nothing is tied the file has every table already.
    isTied = model.config.tie_word_embeddings
    shared = next((key for key in tensors if key.endswith("shared.weight")), None) if isTied else None
    if shared:
        # The table under each of its other names alone, and under all of them.
        for alias in ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight", "all"]:
            if alias == "lm_head.weight" and alias in tensors:
                continue
            own = {key: value for key, value in tensors.items() if key != shared or alias == "all"}
            for key in ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"] if alias == "all" else [alias]:
                own[key if key.startswith("lm_head") else prefix + key] = tensors[shared].clone()
            ways[alias] = rewritten(options.work / f"{name}-{alias}", whole, own)
    if prefix and "lm_head.weight" not in tensors:
        own = {key.removeprefix(prefix): value for key, value in tensors.items()}
        ways["without prefix"] = rewritten(options.work / f"{name}-bare", whole, own)
    # A second table that differs is one of its own.
    if shared:
        other = tensors[shared] + 0.1 * torch.randn(tensors[shared].shape, generator=torch.Generator().manual_seed(2))
        ways["decoder's own table"] = rewritten(
            options.work / f"{name}-two", whole, {**tensors, prefix + "decoder.embed_tokens.weight": other})
    for way, directory in ways.items():
        own = AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()
        with torch.no_grad():
            if way != "decoder's own table":
                same = largest(own(**batch[1], **batch[2]).logits, model(**batch[1], **batch[2]).logits)
                assert same[0] == 0, f"{way}: the peer's own logits differ by {same}"
            compare(report, options, f"{name} {way}", task, directory, own, batch)
    if name == "flan-t5":
        # A classifier is made of a checkpoint for text, whose head is new.
        done = options.graft.run("forward", "--model", whole, "--task", "sequence-classification", "--input",
                                 options.work / "forward" / "inputs.safetensors", "--output",
                                 options.work / "none.safetensors", expect=65)
        report.line("classification_head.dense" in done.stderr, "a head that is missing is named", done.stderr.strip())


def rewritten(directory, model, tensors):
    directory.mkdir()
    (directory / "config.json").write_text((model / "config.json").read_text())
    save_file({key: value.contiguous() for key, value in tensors.items()}, directory / "model.safetensors",
              {"format": "pt"})
    return directory


def narrow(report, options, name, dtype):
    """Weights of 16 bits: computed in float32 they give float32's numbers; as they are, numbers as near to those."""
    task = "seq2seq-lm"
    directory = options.work / f"{name}-{dtype}"
    whole = save(options.work / f"{name}-{dtype}-wide", name, task)
    model = AutoModelForSeq2SeqLM.from_pretrained(whole, dtype=torch.float32)
    model.to(getattr(torch, dtype)).save_pretrained(directory)
    exact, rounded = [AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=kind).eval()
                      for kind in (torch.float32, getattr(torch, dtype))]
    for batch in batches(task, exact.config):
        label, inputs, asked = batch
        given = {**inputs, **asked}
        with torch.no_grad():
            compare(report, options, f"{name} {dtype} in float32", task, directory, exact, batch,
                    more=["--precision", "float32"])
            wide, narrow = exact(**given), rounded(**given)
        actual = options.graft.forward(directory, given, options.work / "forward",
                                       more=["--task", task, "--precision", dtype])
        seen = inputs.get("decoder_attention_mask", torch.ones(1)).unsqueeze(-1)
        ours, theirs = [((found.float() - wide.logits) * seen).norm() for found in (actual["logits"], narrow.logits)]
        report.within(f"{name} {dtype} {label} error of logits, of the peer's own", (float(ours / theirs), ""), 1.5)
        loss = relative(actual["loss"].reshape(()), narrow.loss.float())
        report.within(f"{name} {dtype} {label} loss", loss, ROUNDING[dtype])


def adapters(report, options, name):
    """Other methods, by PEFT's own choice of layers, and an adapter that Graft writes, read by PEFT."""
    task = "seq2seq-lm"
    directory = options.work / f"{name}-seq2seq-lm"
    if not directory.exists():
        save(directory, name, task)

    def peer():
        return AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()

    config = peer().config
    kind = dict(task_type=TaskType.SEQ_2_SEQ_LM)
    methods = {
        "lora": LoraConfig(r=2, **kind), "ia3": IA3Config(**kind), "ln-tuning": LNTuningConfig(**kind),
        "adalora": AdaLoraConfig(init_r=3, target_r=2, total_step=10, **kind),
        "lora-of-tables": LoraConfig(r=2, target_modules=["embed_tokens", "q", "q_proj"], **kind),
        "dora-and-biases": LoraConfig(r=2, use_dora=True, bias="all", **kind),
        "prompt-tuning": PromptTuningConfig(num_virtual_tokens=4, **kind),
        "p-tuning": PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=20, **kind),
        # PEFT takes the encoder's sizes for the decoder's, whose keys and values these are.
        "prefix-tuning": PrefixTuningConfig(
            num_virtual_tokens=3, token_dim=32 if "bart" in name else 48, num_layers=3,
            num_attention_heads=2 if "bart" in name else 4, **kind),
    }
    for method, own in methods.items():
        adapter = options.work / f"{name}-{method}"
        trained = make_adapter(adapter, peer(), own)
        # PEFT does not go on training virtual tokens from a file, and P-tuning's does not hold their encoder.
        isTrained = method != "p-tuning"
        if not own.is_prompt_learning:
            trained = PeftModel.from_pretrained(peer(), adapter, is_trainable=True)
        trained.eval()
        # AdaLoRA's loss has a penalty of its own in the peer, which is training's here.
        for batch in list(batches(task, config))[1:]:
            if method == "adalora":
                batch = (batch[0], {**batch[1], "decoder_input_ids": batch[2]["labels"].clamp_min(0)}, {})
            compare(report, options, f"{name} {method}", task, directory, trained, batch, adapter, trained=isTrained)
    adapter, written = options.work / f"{name}-lora", options.work / f"{name}-written"
    options.graft.run("blend", "--adapter", f"{adapter}=1", "--output", written)
    batch = next(iter(batches(task, config)))
    with torch.no_grad():
        expected, found = [PeftModel.from_pretrained(peer(), directory).eval()(**batch[1], **batch[2]).logits
                           for directory in (adapter, written)]
    report.within(f"{name} adapter that graft wrote, read by PEFT", largest(found, expected), OUTPUTS)


def quantized(report, options, name):
    """A model that transformers quantised to NF4, and the same made on the way: both leave T5's `wo` as it is."""
    from quantized_models import in_float32, load_decoded
    task = "seq2seq-lm"
    directory, written = options.work / f"{name}-wide", options.work / f"{name}-nf4"
    save(directory, name, task)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForSeq2SeqLM.from_pretrained(
        directory, quantization_config=config, dtype=torch.float32, device_map="cpu")
    in_float32(model).save_pretrained(written)
    # What the file's codes mean, as dense weights: the peer's own product is rounded on some processors.
    decoded = load_decoded(AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32), written).eval()
    states = [key for key in load_file(written / "model.safetensors") if key.endswith(".absmax")]
    report.line(bool(states) and not any(".wo." in key for key in states), f"{name} nf4 leaves wo dense",
                f"{len(states)} weights of codes")
    batch = next(iter(batches(task, model.config)))
    with torch.no_grad():
        compare(report, options, f"{name} nf4 of transformers", task, written, decoded, batch)
        compare(report, options, f"{name} nf4 on the way", task, directory, decoded, batch, more=["--quantize", "nf4"])


def main():
    options = arguments(__doc__, lambda parser: parser.add_argument("--only", default="", help="part of a case's name"))
    report = Report("encoder_decoders")
    for name, (model_type, _) in FAMILIES.items():
        for task in TASKS:
            if model_type == "bart" and task == "token-classification":
                continue
            if options.only in f"{name} {task}":
                report.case(f"{name} {task}", case, report, options, name, task)
        if options.only in f"{name} spellings":
            report.case(f"{name} spellings", spellings, report, options, name)
        if options.only in f"{name} adapters":
            report.case(f"{name} adapters", adapters, report, options, name)
        if options.only in f"{name} quantized" and name in ("t5", "flan-t5", "bart"):
            report.case(f"{name} quantized", quantized, report, options, name)
        for dtype in ROUNDING:
            if options.only in f"{name} {dtype}":
                report.case(f"{name} {dtype}", narrow, report, options, name, dtype)
    report.finish()


if __name__ == "__main__":
    main()

// A LoRA forward with Graft as a dependency: a tiny Llama checkpoint is made, an adapter is put on
// it, and its logits are compared with those of a model that has the update in its weights.
import Foundation
import Graft

let directory =
  NSTemporaryDirectory() + "graft-lora-forward-\(ProcessInfo.processInfo.processIdentifier)"
defer { try? FileManager.default.removeItem(atPath: directory) }
try TinyLlama().write(to: directory)

let ids = Tensor([3, 14, 15, 9, 2, 6], shape: [1, 6])
let plain = try AutoModelForCausalLM.fromPretrained(directory).logits(DecoderInput(ids: ids))

let model = try AutoModelForCausalLM.fromPretrained(directory)
var config = LoRAConfig(rank: 4, alpha: 8, targetModules: .allLinear)
config.initialization = .random  // B is not zero, so that the adapter changes the logits at once
let peft = try PeftModel(model, config)
print(peft.trainableParametersDescription())
let adapted = model.logits(DecoderInput(ids: ids))  // [1, 6, vocabulary]
let switchedOff = peft.withAdaptersDisabled { model.logits(DecoderInput(ids: ids)) }

// The same update by hand: W + (alpha / rank) B A in the files of a second model.
var updates: [String: Tensor] = [:]
let factors = Dictionary(
  uniqueKeysWithValues: peft.adapterParameters().map { ($0.key, $0.parameter.value) })
for (key, a) in factors where key.hasSuffix(".lora_A.weight") {
  let path = key.dropFirst("base_model.model.".count).dropLast(".lora_A.weight".count)
  guard let b = factors[key.replacingOccurrences(of: ".lora_A.", with: ".lora_B.")] else {
    fail("\(key) has no B")
  }
  updates[path + ".weight"] = b.matrixProduct(a) * (config.alpha / Double(config.rank))
}
try TinyLlama().write(to: directory, adding: updates)
let byHand = try AutoModelForCausalLM.fromPretrained(directory).logits(DecoderInput(ids: ids))

let merged = try peft.mergeAndUnload().logits(DecoderInput(ids: ids))

func distance(_ left: Tensor, _ right: Tensor) -> Double { (left - right).absolute().max().item() }
func fail(_ message: String) -> Never {
  FileHandle.standardError.write(Data("LoRAForward: \(message)\n".utf8))
  exit(1)
}

print("logits \(adapted.shape); the adapter moves them by up to \(distance(adapted, plain))")
guard updates.count == 14 else {
  fail("14 layers with an adapter expected, \(updates.count) found")
}
guard distance(adapted, plain) > 1e-2 else { fail("the adapter does nothing") }
guard distance(switchedOff, plain) == 0 else { fail("the adapter acts while it is switched off") }
for (name, logits) in [("W + s B A", byHand), ("the merged model", merged)] {
  // Sums in another order: float32 rounding of logits of order 1.
  guard distance(adapted, logits) < 1e-4 else {
    fail("the logits differ from those of \(name) by \(distance(adapted, logits))")
  }
}
print("equal to W + (alpha / rank) B A, and to the merged model")

package import Checkpoints
import Foundation
import Tensors

// What codes are in bitsandbytes' files: names behind the module's path, and how to count them.

extension RowCodes {
  /// `weight` (the codes) and `SCB` (the rows' largest magnitudes).
  var storedTensors: [(name: String, tensor: Tensor)] { [("weight", codes), ("SCB", scales)] }

  /// The tensors that it is made of.
  var heldTensors: [Tensor] { [codes, scales, outlierColumns] + (outliers.map { [$0] } ?? []) }
}

extension FourBitCodes {
  /// `weight` (pairs of codes), `weight.absmax`, `weight.quant_map`, with double quantisation
  /// `weight.nested_absmax` and `weight.nested_quant_map`, and `weight.quant_state.bitsandbytes__<type>`
  /// (JSON as bytes).
  var storedTensors: [(name: String, tensor: Tensor)] {
    var result: [(name: String, tensor: Tensor)] = [("weight", bytes)]
    var fields = [
      "\"quant_type\": \"\(type.rawValue)\"", "\"blocksize\": \(blockSize)",
      "\"dtype\": \"\(dtype)\"", "\"shape\": \(shape)",
    ]
    switch scales {
    case .plain(let values): result.append(("weight.absmax", values))
    case .quantized(let codes, let offset):
      result.append(("weight.absmax", codes.codes))
      result.append(("weight.nested_absmax", codes.scales.values))
      result.append(("weight.nested_quant_map", Tensor(codes.map.values)))
      fields += [
        "\"nested_blocksize\": \(codes.blockSize)", "\"nested_dtype\": \"float32\"",
        "\"nested_offset\": \(Double(offset))",
      ]
    }
    result.append(("weight.quant_map", Tensor(type.values)))
    // As Python's json writes it, which some readers compare.
    let json = "{" + fields.joined(separator: ", ") + "}"
    result.append(("weight.\(type.stateName)", Tensor(Array(json.utf8))))
    return result
  }
}

extension FourBitCodes {
  /// The tensors that it is made of.
  var heldTensors: [Tensor] { [bytes] + scales.heldTensors }
}

extension BlockScales {
  /// The tensors that they are made of.
  var heldTensors: [Tensor] {
    switch self {
    case .plain(let values): [values]
    case .quantized(let codes, _): [codes.codes] + codes.scales.heldTensors
    }
  }
}

extension FourBitType {
  /// What the state of a weight is called behind the weight's own name.
  var stateName: String { "quant_state.bitsandbytes__\(rawValue)" }
}

/// How many numbers of a model a tensor of its checkpoint stands for.
///
/// - Parameters:
///   - entry: The tensor.
///   - names: Every tensor of the checkpoint.
/// - Returns: Its elements, those of codes of 4 bits, or 0 for what belongs to a quantised weight.
package func parameterCount(_ entry: SafetensorsEntry, among names: Set<String>) -> Int {
  let name = entry.name
  if let cut = name.range(of: ".weight.") {
    let part = name[cut.upperBound...]
    let isState =
      ["absmax", "quant_map", "nested_absmax", "nested_quant_map"].contains(part)
      || part.hasPrefix("quant_state.")
    if isState, names.contains(name[..<cut.lowerBound] + ".weight") { return 0 }
  }
  for end in [".SCB", ".weight_format"] where name.hasSuffix(end) {
    if names.contains(name.dropLast(end.count) + ".weight") { return 0 }
  }
  let isFourBit = FourBitType.allCases.contains { names.contains("\(name).\($0.stateName)") }
  return isFourBit ? entry.byteRange.count * 2 : entry.elementCount
}

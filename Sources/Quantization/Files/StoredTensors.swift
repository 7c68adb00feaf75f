public import Tensors

extension Linear8bit {
  /// `weight` (the codes), `SCB` (the rows' largest magnitudes) and `weight_format` (0: by row).
  public var storedTensors: [(name: String, tensor: Tensor)] {
    [
      ("weight", weight.codes), ("SCB", weight.scales),
      ("weight_format", Tensor([UInt8(0)], shape: [])),
    ]
  }

  /// Elements of W.
  public var storedCount: Int { weight.codes.count }
}

extension Linear4bit {
  /// `weight` (pairs of codes), `weight.absmax`, `weight.quant_map`, with double quantisation
  /// `weight.nested_absmax` and `weight.nested_quant_map`, and `weight.quant_state.bitsandbytes__<type>`
  /// (JSON as bytes).
  public var storedTensors: [(name: String, tensor: Tensor)] {
    var result: [(name: String, tensor: Tensor)] = [("weight", weight.bytes)]
    var fields = [
      "\"quant_type\": \"\(weight.type.rawValue)\"", "\"blocksize\": \(weight.blockSize)",
      "\"dtype\": \"\(weight.dtype)\"", "\"shape\": \(weight.shape)",
    ]
    switch weight.scales {
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
    result.append(("weight.quant_map", Tensor(weight.type.values)))
    // As Python's json writes it, which some readers compare.
    let json = "{" + fields.joined(separator: ", ") + "}"
    result.append(
      ("weight.quant_state.bitsandbytes__\(weight.type.rawValue)", Tensor(Array(json.utf8))))
    return result
  }

  /// Elements of W.
  public var storedCount: Int { weight.count }
}

extension Table8bit {
  /// `weight` (the codes) and `SCB` (the rows' largest magnitudes).
  public var storedTensors: [(name: String, tensor: Tensor)] {
    [("weight", weight.codes), ("SCB", weight.scales)]
  }

  /// Elements of the table.
  public var storedCount: Int { weight.codes.count }
}

extension Table4bit {
  /// The tensors of ``Linear4bit/storedTensors``.
  public var storedTensors: [(name: String, tensor: Tensor)] {
    Linear4bit(weight: weight).storedTensors
  }

  /// Elements of the table.
  public var storedCount: Int { weight.count }
}

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif
import JSONValues

/// The scaling of rotary positions, as `rope_scaling` of config.json; `null` when there is none.
///
/// Llama 3.1 and later store the scaled frequencies as a tensor, `rope_freqs.weight`: one divisor
/// per pair of a head. The parameters are recovered from it: the factor is the largest divisor, and
/// the tensor must then equal what the known parameters of Llama 3 give.
struct GGUFRopeScaling {
  let json: JSON

  init(
    _ file: GGUFFile, _ fields: GGUFFields, prefix: String, headSize: Int, base: Double,
    contextLength: Int
  ) throws(CheckpointError) {
    let type = try fields.optionalString("\(prefix).rope.scaling.type") ?? "none"
    let factor = try fields.optionalNumber("\(prefix).rope.scaling.factor")
    let original = try fields.optionalSize("\(prefix).rope.scaling.original_context_length")
    switch type {
    case "none", "longrope":
      if let long = try Self.longFactors(file, fields, prefix: prefix, size: headSize) {
        json = long
      } else if type == "longrope" {
        throw .mismatch(
          path: file.path, what: "\(prefix).rope.scaling.type",
          expected: "the tensors rope_factors_long.weight and rope_factors_short.weight beside it",
          actual: "longrope without them")
      } else if let legacy = try fields.optionalNumber("\(prefix).rope.scale_linear"), legacy != 1 {
        json = ["rope_type": "linear", "factor": .number(legacy)]
      } else {
        json = try Self.divisors(file, headSize: headSize, base: base)
      }
    case "linear":
      json = ["rope_type": "linear", "factor": .number(try Self.required(factor, fields, prefix))]
    case "yarn":
      json = [
        "rope_type": "yarn", "factor": .number(try Self.required(factor, fields, prefix)),
        "original_max_position_embeddings": .integer(original ?? contextLength),
      ]
    default:
      throw .unsupported(
        path: file.path, what: "\(prefix).rope.scaling.type \(quoted(type))",
        supported: ["none", "linear", "yarn", "longrope"])
    }
  }

  private static func required(
    _ factor: Double?, _ fields: GGUFFields, _ prefix: String
  ) throws(CheckpointError) -> Double {
    guard let factor else { throw fields.lacks("\(prefix).rope.scaling.factor") }
    return factor
  }

  /// Phi's two lists of factors, which the file has as tensors; nil where it has none.
  private static func longFactors(
    _ file: GGUFFile, _ fields: GGUFFields, prefix: String, size: Int
  ) throws(CheckpointError) -> JSON? {
    guard file.tensor(named: "rope_factors_long.weight") != nil else { return nil }
    var lists: [JSON] = []
    for kind in ["short", "long"] {
      let values = try numbers(file, "rope_factors_\(kind).weight", count: size / 2)
      // The decimal that was meant, as a single spells it.
      lists.append(.array(values.map { .number(Double($0.description) ?? Double($0)) }))
    }
    var object = JSONObject([
      ("rope_type", "longrope"), ("type", "longrope"), ("short_factor", lists[0]),
      ("long_factor", lists[1]),
    ])
    if let factor = try fields.optionalNumber("\(prefix).rope.scaling.attn_factor") {
      object["attention_factor"] = .number(factor)
    }
    return .object(object)
  }

  private static func numbers(
    _ file: GGUFFile, _ name: String, count: Int
  ) throws(CheckpointError) -> [Float] {
    guard let tensor = file.tensor(named: name) else {
      throw .lacks(path: file.path, what: "tensor \(quoted(name))")
    }
    guard tensor.shape == [count] else {
      throw .mismatch(
        path: file.path, what: "the shape of tensor \(quoted(name))", expected: "\([count])",
        actual: "\(tensor.shape)")
    }
    let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: count)
    defer { buffer.deallocate() }
    buffer.initialize(repeating: 0)
    try file.dequantize(tensor.name, into: buffer)
    return Array(buffer)
  }

  private static func divisors(
    _ file: GGUFFile, headSize: Int, base: Double
  ) throws(CheckpointError) -> JSON {
    guard file.tensor(named: "rope_freqs.weight") != nil else { return nil }
    let divisors = try numbers(file, "rope_freqs.weight", count: headSize / 2).map(Double.init)
    if divisors.allSatisfy({ $0 == 1 }) { return nil }
    let low = 1.0
    let high = 4.0
    let original = 8192
    let factor = (divisors.max() ?? 1).rounded()
    let expected = (0..<headSize / 2).map { index -> Double in
      // Source: Llama 3.1, `rope_type` "llama3": wavelengths above original / low are stretched
      // by the factor, those below original / high kept, those between blended.
      let wavelength = 2 * Double.pi * pow(base, 2 * Double(index) / Double(headSize))
      let length = Double(original)
      if wavelength < length / high { return 1 }
      if wavelength > length / low { return factor }
      let smooth = (length / wavelength - low) / (high - low)
      return 1 / ((1 - smooth) / factor + smooth)
    }
    guard zip(divisors, expected).allSatisfy({ abs($0 - $1) <= 1e-4 * $1 }) else {
      throw .unsupported(
        path: file.path, what: "the position scaling in tensor \"rope_freqs.weight\"",
        supported: ["that of Llama 3 (low 1, high 4, original length 8192)"])
    }
    return [
      "rope_type": "llama3", "factor": .number(factor), "low_freq_factor": .number(low),
      "high_freq_factor": .number(high), "original_max_position_embeddings": .integer(original),
    ]
  }
}

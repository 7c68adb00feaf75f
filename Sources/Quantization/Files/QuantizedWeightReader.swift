public import Checkpoints
import Foundation
import JSONValues
public import Layers
public import Tensors

/// Opens the quantised linear weights of a checkpoint as bitsandbytes stores them.
///
/// - Note: Source: the files that transformers 5.23 writes with bitsandbytes 0.50.2.
public struct QuantizedWeightReader {
  /// The checkpoint.
  public let checkpoint: SafetensorsCheckpoint
  /// What `config.json` says; nil when it says nothing.
  public let configuration: BitsAndBytesConfiguration?
  let device: Device

  /// Makes a reader.
  ///
  /// - Parameters:
  ///   - checkpoint: The checkpoint.
  ///   - configuration: What `config.json` says; nil when it says nothing.
  ///   - device: Where the codes go.
  public init(
    checkpoint: SafetensorsCheckpoint, configuration: BitsAndBytesConfiguration?,
    device: Device = .cpu
  ) {
    self.checkpoint = checkpoint
    self.configuration = configuration
    self.device = device
  }

  /// How the checkpoint's weights are kept; nil when `config.json` does not say that they are
  /// quantised.
  ///
  /// The block size is that of the first weight: `config.json` has none.
  public var format: WeightFormat? {
    guard let configuration else { return nil }
    let state = "weight.\(configuration.fourBitType.stateName)"
    guard configuration.bits == 4,
      let name = checkpoint.names.first(where: { $0.hasSuffix(state) }),
      let (file, entry) = checkpoint.entry(name),
      let json = try? JSON.parse(Data(file.byteTensor(entry).array(of: UInt8.self)))
    else { return configuration.format() }
    return configuration.format(blockSize: json["blocksize"]?.intValue ?? 64)
  }

  /// Opens one weight.
  ///
  /// Codes are mapped from the file, not read.
  ///
  /// - Parameters:
  ///   - name: The layer's path; the weight is its `weight`.
  ///   - shape: `[outputSize, inputSize]` by the model's configuration.
  ///   - bias: The layer's bias, or nil.
  ///   - dtype: Type of the weight as numbers, float32 in the place of one that cannot be quantised;
  ///     nil for the one that was quantised.
  /// - Returns: Nil when the weight is not quantised.
  /// - Throws: ``QuantizationError`` or `CheckpointError` when what belongs to it is missing or does
  ///   not fit.
  public func projection(
    _ name: String, shape: [Int], bias: Parameter?, dtype: DType?
  ) throws -> (any LinearProjection)? {
    let (weight, dtype) = (name + ".weight", dtype.map(quantizableType))
    guard shape.reduce(1, multiplied) < Int.max else {
      throw wrong(checkpoint.directory, weight, "a shape that can be", "\(shape) by config.json")
    }
    guard let (file, entry) = checkpoint.entry(weight) else {
      try rejectOtherMethods(name)
      return nil
    }
    for type in FourBitType.allCases {
      let key = "\(weight).\(type.stateName)"
      guard checkpoint.entry(key) != nil else { continue }
      let codes = try FourBitState(self, weight: weight, key: key, type: type, shape: shape)
        .codes(file.byteTensor(entry), dtype: dtype)
      return Linear4bit(weight: codes, bias: bias)
    }
    if entry.dtype.rawValue == "I8" {
      return Linear8bit(
        weight: try rowCodes(name, file, entry, shape: shape, dtype: dtype), bias: bias,
        threshold: configuration?.threshold ?? 6)
    }
    guard entry.dtype.rawValue != "U8" else {
      throw QuantizationError.missingState(
        path: file.path, weight: weight,
        missing: "\(weight).quant_state.bitsandbytes__nf4 or ...fp4")
    }
    return nil
  }

  private func rowCodes(
    _ name: String, _ file: SafetensorsFile, _ entry: SafetensorsEntry, shape: [Int], dtype: DType?
  ) throws -> RowCodes {
    let weight = name + ".weight"
    guard entry.shape == shape else {
      throw wrong(file.path, weight, "shape \(shape) by config.json", "\(entry.shape)")
    }
    if let (file, format) = checkpoint.entry(name + ".weight_format") {
      let value = try file.tensor(format).array(of: UInt8.self)
      guard value == [0] else {
        throw wrong(
          file.path, name + ".weight_format", "0 (row by row); older layouts are not supported",
          "\(value.map(Int.init))")
      }
    }
    let scales = try tensor(name + ".SCB", of: weight, shape: [shape[0]], dtype: .float32)
    return RowCodes(
      codes: try file.tensor(entry).to(device: device), scales: scales.to(device: device),
      dtype: dtype ?? .float32)
  }

  /// A tensor that belongs to a weight.
  func tensor(
    _ name: String, of weight: String, shape: [Int], dtype: DType
  ) throws -> Tensor {
    guard let (file, entry) = checkpoint.entry(name) else {
      throw QuantizationError.missingState(
        path: checkpoint.directory, weight: weight, missing: name)
    }
    guard entry.shape == shape, entry.dtype.dtype == dtype else {
      throw wrong(
        file.path, name, "\(dtype) of shape \(shape)",
        "\(entry.dtype.rawValue) of shape \(entry.shape)")
    }
    return try file.tensor(entry)
  }

  func wrong(
    _ path: String, _ tensor: String, _ expected: String, _ actual: String
  ) -> QuantizationError {
    .state(path: path, tensor: tensor, expected: expected, actual: actual)
  }

  /// Says what a checkpoint is whose weights have names of other methods.
  private func rejectOtherMethods(_ name: String) throws(QuantizationError) {
    guard checkpoint.entry(name + ".qweight") != nil else { return }
    let isGPTQ = checkpoint.entry(name + ".g_idx") != nil
    throw .unknownMethod(path: checkpoint.directory, method: isGPTQ ? "GPTQ" : "GPTQ or AWQ")
  }
}

/// The product, or the greatest number where it would be more.
private func multiplied(_ a: Int, _ b: Int) -> Int {
  let (product, overflows) = a.multipliedReportingOverflow(by: b)
  return overflows ? Int.max : product
}

import Checkpoints
import Foundation
import JSONValues
import Tensors

/// What belongs to one 4-bit weight in a file: the JSON of its state, and tensors beside it.
struct FourBitState {
  private let reader: QuantizedWeightReader
  private let weight: String
  private let type: FourBitType
  private let shape: [Int]
  private let blockSize: Int
  private let dtype: DType
  private let nested: (blockSize: Int, offset: Float)?

  /// Reads and checks the JSON.
  init(
    _ reader: QuantizedWeightReader, weight: String, key: String, type: FourBitType, shape: [Int]
  ) throws {
    self.reader = reader
    self.weight = weight
    self.type = type
    self.shape = shape
    guard let (file, entry) = reader.checkpoint.entry(key) else {
      throw QuantizationError.missingState(
        path: reader.checkpoint.directory, weight: weight, missing: key)
    }
    func wrong(_ field: String, _ expected: String, _ actual: JSON?) -> QuantizationError {
      reader.wrong(
        file.path, "\(key): \(field)", expected,
        actual.map { String($0.serialized().prefix(60)) } ?? "nothing")
    }
    let bytes = file.byteTensor(entry).array(of: UInt8.self)
    guard let json = try? JSON.parse(Data(bytes)), json.objectValue != nil else {
      throw reader.wrong(file.path, key, "a JSON object", "\(bytes.count) bytes of something else")
    }
    guard json["quant_type"]?.stringValue == type.rawValue else {
      throw wrong("quant_type", type.rawValue, json["quant_type"])
    }
    guard let size = json["blocksize"]?.intValue, FourBitCodes.blockSizes.contains(size) else {
      throw wrong("blocksize", "one of \(FourBitCodes.blockSizes)", json["blocksize"])
    }
    blockSize = size
    guard json["shape"]?.arrayValue?.map(\.intValue) == shape else {
      throw wrong("shape", "\(shape) by config.json", json["shape"])
    }
    guard let found = json["dtype"]?.stringValue.flatMap(DType.init(name:)),
      [.float32, .float16, .bfloat16].contains(found)
    else { throw wrong("dtype", "float32, float16 or bfloat16", json["dtype"]) }
    dtype = found
    guard json["nested_blocksize"] != nil || json["nested_offset"] != nil else {
      nested = nil
      return
    }
    guard let inner = json["nested_blocksize"]?.intValue, inner > 0, inner <= 1 << 30 else {
      throw wrong("nested_blocksize", "a positive whole number", json["nested_blocksize"])
    }
    guard let offset = json["nested_offset"]?.doubleValue, Float(offset).isFinite
    else {
      throw wrong("nested_offset", "a number of float32", json["nested_offset"])
    }
    nested = (inner, Float(offset))
  }

  /// The codes with their scales.
  func codes(_ bytes: Tensor, dtype wanted: DType?) throws -> FourBitCodes {
    let count = shape.reduce(1, *)
    let needed = count / 2 + count % 2
    guard bytes.count == needed else {
      throw reader.wrong(
        reader.checkpoint.directory, weight, "\(needed) bytes for a shape of \(shape)",
        "\(bytes.count)")
    }
    let map = try reader.tensor(
      weight + ".quant_map", of: weight, shape: [16], dtype: .float32
    ).array(of: Float.self)
    guard zip(map, type.values).allSatisfy({ abs($0 - $1) < 1e-6 }) else {
      throw reader.wrong(
        reader.checkpoint.directory, weight + ".quant_map", "the numbers of \(type.rawValue)",
        "\(map)")
    }
    return FourBitCodes(
      bytes: bytes.reshaped([-1, 1]).to(device: reader.device),
      scales: try scales(blocks: blockCount(count, blockSize)), blockSize: blockSize,
      type: type, shape: shape, dtype: wanted ?? dtype)
  }

  private func scales(blocks: Int) throws -> BlockScales {
    let name = weight + ".absmax"
    guard let nested else {
      let values = try reader.tensor(name, of: weight, shape: [blocks], dtype: .float32)
      return .plain(values.to(device: reader.device))
    }
    let codes = try reader.tensor(name, of: weight, shape: [blocks], dtype: .uint8)
    let inner = try reader.tensor(
      weight + ".nested_absmax", of: weight,
      shape: [blockCount(blocks, nested.blockSize)], dtype: .float32)
    let numbers = try reader.tensor(
      weight + ".nested_quant_map", of: weight, shape: [256], dtype: .float32
    ).array(of: Float.self)
    guard zip(numbers, numbers.dropFirst()).allSatisfy({ $0 <= $1 }),
      numbers.allSatisfy({ abs($0) <= 1 })
    else {
      throw reader.wrong(
        reader.checkpoint.directory, weight + ".nested_quant_map", "ascending numbers in [-1, 1]",
        "others")
    }
    let isDynamic = numbers.map(\.bitPattern) == CodeMap.dynamic.values.map(\.bitPattern)
    return .quantized(
      BlockwiseCodes(
        codes: codes.to(device: reader.device), scales: .plain(inner.to(device: reader.device)),
        blockSize: nested.blockSize, map: isDynamic ? .dynamic : CodeMap(numbers),
        dtype: .float32), offset: nested.offset)
  }
}

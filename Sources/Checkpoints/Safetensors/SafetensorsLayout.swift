import JSONValues

/// Order, places and header of a safetensors file to be written.
package struct SafetensorsLayout: Sendable {
  /// The tensors in file order, with ranges from the beginning of the file.
  package let entries: [SafetensorsEntry]
  /// The first bytes of the file: the length, the JSON and its padding.
  package let header: [UInt8]

  package init(
    path: String, tensors: [SafetensorsWriter.Tensor], metadata: [(key: String, value: String)]?
  ) throws(CheckpointError) {
    let ordered = tensors.sorted {
      $0.dtype.rank != $1.dtype.rank
        ? $0.dtype.rank > $1.dtype.rank
        : $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
    }
    try Self.checkNames(ordered, path: path)
    var fields = JSONObject()
    if let metadata {
      let pairs = metadata.map { (key: $0.key, value: JSON.string($0.value)) }
      fields[SafetensorsHeader.metadataKey] = .object(JSONObject(pairs))
    }
    var ranges: [Range<Int>] = []
    var end = 0
    for tensor in ordered {
      let (next, overflow) = end.addingReportingOverflow(try Self.byteCount(of: tensor, path: path))
      if overflow {
        throw .invalidTensor(path: path, tensor: tensor.name, reason: "the file would be too large")
      }
      fields[tensor.name] = [
        "dtype": .string(tensor.dtype.rawValue),
        "shape": .array(tensor.shape.map(JSON.integer)),
        "data_offsets": [.integer(end), .integer(next)],
      ]
      ranges.append(end..<next)
      end = next
    }
    let json = JSON.object(fields).serialized(escapeNonASCII: false, separators: (",", ":"))
    let header = Self.padded(json)
    guard header.count - 8 <= SafetensorsHeader.lengthLimit else {
      throw .invalidTensor(
        path: path, tensor: ordered.first?.name ?? "",
        reason: "the header takes \(header.count - 8) bytes, above the limit of "
          + "\(SafetensorsHeader.lengthLimit)")
    }
    self.header = header
    entries = zip(ordered, ranges).map { tensor, range in
      SafetensorsEntry(
        name: tensor.name, dtype: tensor.dtype, shape: tensor.shape,
        byteRange: header.count + range.lowerBound..<header.count + range.upperBound)
    }
  }

  private static func checkNames(
    _ ordered: [SafetensorsWriter.Tensor], path: String
  ) throws(CheckpointError) {
    var seen: Set<UTF8Key> = []
    for tensor in ordered {
      if tensor.name.utf8.elementsEqual(SafetensorsHeader.metadataKey.utf8) {
        throw .invalidTensor(
          path: path, tensor: tensor.name, reason: "the format reserves the name")
      }
      if !seen.insert(UTF8Key(tensor.name)).inserted {
        throw .invalidTensor(path: path, tensor: tensor.name, reason: "the name is given twice")
      }
    }
  }

  private static func byteCount(
    of tensor: SafetensorsWriter.Tensor, path: String
  ) throws(CheckpointError) -> Int {
    do throws(SafetensorsDefect) {
      return try tensor.dtype.byteCount(of: tensor.shape, tensor: tensor.name)
    } catch {
      throw .invalidTensor(path: path, tensor: tensor.name, reason: "\(error)")
    }
  }

  private static func padded(_ json: String) -> [UInt8] {
    let text = Array(json.utf8)
    let length = (text.count + 7) / 8 * 8
    var header = withUnsafeBytes(of: UInt64(length).littleEndian, Array.init)
    header += text
    header += repeatElement(UInt8(ascii: " "), count: length - text.count)
    return header
  }
}

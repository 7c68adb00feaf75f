/// Converts tensors of a GGUF file piece by piece and hands them to a safetensors writer.
///
/// A piece is a number of whole rows (whole heads for interleaved tensors), of about 4 million
/// elements, so that memory stays small whatever the size of a tensor.
struct GGUFTensorConversion {
  let file: GGUFFile
  let dtype: GGUFImporter.DType

  private static let pieceSize = 1 << 22

  func write(_ plan: GGUFTensorPlan, to writer: SafetensorsWriter) throws(CheckpointError) {
    let tensor = plan.source
    guard tensor.elementCount > 0 else { return }
    // A transposed matrix is turned as a whole; only GPT-2 has such, and they are small.
    let piecesSize = plan.isTransposed ? tensor.elementCount : Self.pieceSize
    let unit = tensor.shape.count > 1 ? plan.interleavedHeadSize ?? 1 : 1
    let unitsPerPiece = max(1, piecesSize / (unit * tensor.rowLength))
    let rowsPerPiece = min(tensor.rowCount, unit * unitsPerPiece)
    let capacity = rowsPerPiece * tensor.rowLength
    let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: capacity)
    values.initialize(repeating: 0)
    let ordered = UnsafeMutableBufferPointer<Float>.allocate(
      capacity: plan.interleavedHeadSize == nil && !plan.isTransposed ? 0 : capacity)
    ordered.initialize(repeating: 0)
    let narrow = UnsafeMutableBufferPointer<UInt16>.allocate(
      capacity: dtype == .float32 ? 0 : capacity)
    narrow.initialize(repeating: 0)
    defer {
      values.deallocate()
      ordered.deallocate()
      narrow.deallocate()
    }
    var row = 0
    while row < tensor.rowCount {
      let rows = row..<min(row + rowsPerPiece, tensor.rowCount)
      let count = rows.count * tensor.rowLength
      var piece = UnsafeMutableBufferPointer(rebasing: values[..<count])
      try file.dequantize(tensor, rows: rows, into: piece)
      if plan.subtractsOne {
        for index in 0..<count { piece[index] -= 1 }
      }
      if plan.isTransposed {
        let target = UnsafeMutableBufferPointer(rebasing: ordered[..<count])
        for row in rows {
          for column in 0..<tensor.rowLength {
            target[column * tensor.rowCount + row] = piece[row * tensor.rowLength + column]
          }
        }
        piece = target
      }
      if let headSize = plan.interleavedHeadSize {
        // A bias is one row here; its elements are ordered like the rows of the weight.
        let length = tensor.shape.count > 1 ? tensor.rowLength : 1
        let target = UnsafeMutableBufferPointer(rebasing: ordered[..<count])
        Self.deinterleave(piece, into: target, rowLength: length, headSize: headSize)
        piece = target
      }
      if dtype == .float32 {
        try writer.write(UnsafeRawBufferPointer(piece))
      } else {
        let target = UnsafeMutableBufferPointer(rebasing: narrow[..<count])
        try convert(piece, into: target, of: tensor)
        try writer.write(UnsafeRawBufferPointer(target))
      }
      row = rows.upperBound
    }
  }

  /// Puts the rows of each head back: stored row 2 i + j of a head is row j (headSize / 2) + i.
  ///
  /// GGUF's `llama` architecture rotates neighbouring elements, Hugging Face's models rotate the
  /// two halves of a head; `convert_hf_to_gguf.py` reorders the rows of q and k accordingly.
  private static func deinterleave(
    _ source: UnsafeMutableBufferPointer<Float>, into target: UnsafeMutableBufferPointer<Float>,
    rowLength: Int, headSize: Int
  ) {
    guard let from = source.baseAddress, let to = target.baseAddress else { return }
    let half = headSize / 2
    for row in 0..<source.count / rowLength {
      let head = row / headSize * headSize
      let inside = row % headSize
      let stored = head + inside % half * 2 + inside / half
      (to + row * rowLength).update(from: from + stored * rowLength, count: rowLength)
    }
  }

  private func convert(
    _ source: UnsafeMutableBufferPointer<Float>, into target: UnsafeMutableBufferPointer<UInt16>,
    of tensor: GGUFTensor
  ) throws(CheckpointError) {
    guard dtype == .float16 else {
      for index in 0..<source.count { target[index] = FloatConversion.bfloat16(source[index]) }
      return
    }
    var largest: Float = 0
    for index in 0..<source.count {
      let magnitude = source[index].magnitude
      largest = magnitude > largest ? magnitude : largest
      target[index] = FloatConversion.half(source[index])
    }
    if largest >= 65520, largest < .infinity {
      throw .mismatch(
        path: file.path, what: "tensor \(quoted(tensor.name)) in float16",
        expected: "magnitudes below 65520; import as bfloat16 or float32", actual: "\(largest)")
    }
  }
}

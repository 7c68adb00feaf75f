import Checkpoints
import Foundation
import Testing

/// What is written is read back by the reader, and codes are ggml's.
@Suite("GGUF writer")
struct GGUFWriterTests {
  private func write(
    _ path: String, _ tensors: [(tensor: GGUFWriter.Tensor, values: [Float])],
    metadata: [(key: String, value: GGUFValue)] = [], alignment: Int = 32, piece: Int = 64
  ) throws {
    let writer = try GGUFWriter(
      path: path, metadata: metadata, tensors: tensors.map(\.tensor), alignment: alignment)
    for (_, values) in tensors {
      for start in stride(from: 0, to: values.count, by: piece) {
        try values[start..<min(start + piece, values.count)].withUnsafeBufferPointer {
          try writer.write($0)
        }
      }
    }
    try writer.commit()
  }

  private func bytes(_ file: GGUFFile, _ name: String) throws -> [UInt8] {
    Array(file.bytes(of: try #require(file.tensor(named: name))))
  }

  @Test("Metadata of every type comes back as it was given")
  func metadata() throws {
    let scratch = try Scratch()
    let entries: [(key: String, value: GGUFValue)] = [
      ("a.uint8", .uint8(255)), ("a.int8", .int8(-128)), ("a.uint16", .uint16(65535)),
      ("a.int16", .int16(-32768)), ("a.uint32", .uint32(.max)), ("a.int32", .int32(.min)),
      ("a.float32", .float32(-0.1)), ("a.bool", .bool(true)), ("a.false", .bool(false)),
      ("a.text", .string("ä\u{0}\u{1F600}")), ("a.uint64", .uint64(.max)),
      ("a.int64", .int64(.min)), ("a.float64", .float64(.pi)), ("a.empty", .array([])),
      ("a.texts", .array([.string(""), .string("b")])),
      ("a.nested", .array([.array([.int32(1)]), .array([.int32(2), .int32(3)])])),
    ]
    try write(scratch("m.gguf"), [], metadata: entries)
    let file = try GGUFFile(path: scratch("m.gguf"))
    #expect(file.metadata.map(\.key) == entries.map(\.key))
    #expect(file.metadata.map(\.value) == entries.map(\.value))
    #expect(file.version == 3)
  }

  @Test("Tensors in pieces, aligned and padded, empty ones too", arguments: [8, 32, 256])
  func layout(alignment: Int) throws {
    let scratch = try Scratch()
    let values = (0..<96).map { Float($0) / 7 - 3 }
    let tensors: [(tensor: GGUFWriter.Tensor, values: [Float])] = [
      (.init(name: "scalar", type: .f32, shape: []), [2.5]),
      (.init(name: "row", type: .f16, shape: [3]), [1, -2, 0.5]),
      (.init(name: "none", type: .f32, shape: [0, 4]), []),
      (.init(name: "matrix", type: .q80, shape: [3, 32]), values),
      (.init(name: "cube", type: .bf16, shape: [2, 2, 2]), [1, 2, 3, 4, 5, 6, 7, 8]),
    ]
    try write(scratch("t.gguf"), tensors, alignment: alignment, piece: 32)
    let file = try GGUFFile(path: scratch("t.gguf"))
    #expect(file.tensors.map(\.name) == tensors.map(\.tensor.name))
    #expect(file.tensors.map(\.shape) == tensors.map(\.tensor.shape))
    for tensor in file.tensors { #expect(tensor.byteRange.lowerBound % alignment == 0) }
    #expect(file["general.alignment"]?.intValue == (alignment == 32 ? nil : alignment))
    for (tensor, values) in tensors where tensor.type != .q80 && !values.isEmpty {
      let output = UnsafeMutableBufferPointer<Float>.allocate(capacity: values.count)
      defer { output.deallocate() }
      try file.dequantize(tensor.name, into: output)
      #expect(Array(output) == values, "\(tensor.name)")
    }
    #expect(try scratch.names() == ["t.gguf"])
  }

  @Test("Q8_0: d = max / 127 in single precision, codes rounded half away from zero")
  func eightBits() throws {
    let scratch = try Scratch()
    // With max 127 the scale is 1, so that codes are the rounded numbers themselves.
    var block: [Float] = [127, 0.5, -0.5, 1.5, -1.5, 2.5, 2.4999998, -126.5, 126.49999, 0, -0.0]
    block += [Float](repeating: 0.25, count: 32 - block.count)
    let zeros = [Float](repeating: 0, count: 32)
    let tiny = [Float](repeating: Float(bitPattern: 714), count: 32)  // 1e-42
    try write(
      scratch("q.gguf"),
      [(.init(name: "q", type: .q80, shape: [3, 32]), block + zeros + tiny)], piece: 96)
    let stored = try bytes(GGUFFile(path: scratch("q.gguf")), "q")
    #expect(Array(stored[0..<2]) == [0x00, 0x3C])
    let codes = stored[2..<34].map { Int8(bitPattern: $0) }
    #expect(Array(codes.prefix(11)) == [127, 1, -1, 2, -2, 3, 2, -127, 126, 0, 0])
    #expect(codes.dropFirst(11).allSatisfy { $0 == 0 })
    #expect(stored[34..<68].allSatisfy { $0 == 0 })
    #expect(Array(stored[68..<70]) == [0, 0])
  }

  @Test("Numbers that a type cannot hold, repeated names, shapes and pieces are refused by name")
  func refusals() throws {
    let scratch = try Scratch()
    func message(_ body: () throws -> Void) -> String {
      do {
        try body()
        return "accepted"
      } catch { return "\(error)" }
    }
    let path = scratch("r.gguf")
    let large: [Float] = [1, 70000] + [Float](repeating: 0, count: 30)
    let undefined: [Float] = [.nan] + [Float](repeating: 0, count: 31)
    let huge = [Float](repeating: 1e9, count: 32)
    for (type, values) in [
      (GGUFTensorType.f16, large), (.q80, undefined), (.q80, huge),
      (.q80, [.infinity] + [Float](repeating: 0, count: 31)),
    ] {
      let said = message {
        try write(path, [(.init(name: "big", type: type, shape: [32]), values)])
      }
      #expect(said.contains("\"big\" in \(type.name)"), "\(said)")
    }
    for (tensors, mention) in [
      (
        [
          GGUFWriter.Tensor(name: "a", type: .f32, shape: [1]),
          .init(name: "a", type: .f32, shape: [1]),
        ], "twice"
      ),
      ([.init(name: "b", type: .q80, shape: [2, 33])], "33"),
      ([.init(name: "c", type: .q4K, shape: [256])], "Q4_K"),
      ([.init(name: "d", type: .f32, shape: [1, 1, 1, 1, 1])], "5 axes"),
      ([.init(name: "e", type: .f32, shape: [1 << 40, 1 << 40])], "shape"),
    ] {
      let said = message { _ = try GGUFWriter(path: path, metadata: [], tensors: tensors) }
      #expect(said.contains(mention), "\(said)")
    }
    let said = message {
      _ = try GGUFWriter(
        path: path, metadata: [("k", .bool(true)), ("k", .bool(true))], tensors: [])
    }
    #expect(said.contains("\"k\""), "\(said)")
    let incomplete = message {
      try write(path, [(.init(name: "half", type: .f32, shape: [8]), [1, 2, 3, 4])])
    }
    #expect(incomplete.contains("\"half\""), "\(incomplete)")
    let tooMany = message {
      try write(path, [(.init(name: "short", type: .f32, shape: [2]), [1, 2, 3])])
    }
    #expect(tooMany.contains("\"short\""), "\(tooMany)")
    #expect(try scratch.names().isEmpty)
  }
}

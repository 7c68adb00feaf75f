import Checkpoints
import Foundation
import Testing

@Suite("Writing safetensors")
struct SafetensorsWritingTests {
  @Test("The same tensors give the same bytes as the Python package, in whatever order")
  func identicalBytes() throws {
    let scratch = try Scratch()
    let original = try SafetensorsFile(path: fixture("dtypes.safetensors"))
    let tensors = original.entries.reversed().map {
      SafetensorsWriter.Tensor(name: $0.name, dtype: $0.dtype, shape: $0.shape)
    }
    let path = scratch("copy.safetensors")
    let writer = try SafetensorsWriter(path: path, tensors: tensors)
    #expect(writer.entries == original.entries)
    while let next = writer.next {
      let entry = try #require(original[next.name])
      let bytes = original.bytes(of: entry)
      let half = bytes.count / 2  // in two pieces
      try writer.write(UnsafeRawBufferPointer(rebasing: bytes[..<half]))
      try writer.write(UnsafeRawBufferPointer(rebasing: bytes[half...]))
    }
    #expect(!FileManager.default.fileExists(atPath: path))
    try writer.commit()
    #expect(try contents(path) == contents(fixture("dtypes.safetensors")))
    #expect(try scratch.names() == ["copy.safetensors"])
  }

  @Test("Metadata is written in the given order, none leaves the key out, an empty file is valid")
  func metadata() throws {
    let scratch = try Scratch()
    let path = scratch("a.safetensors")
    try SafetensorsWriter(path: path, tensors: [], metadata: [("b", "1"), ("a", "\u{1}\u{E9}")])
      .commit()
    let file = try SafetensorsFile(path: path)
    #expect(file.metadata.map(\.key) == ["b", "a"] && file.metadataValue("a") == "\u{1}\u{E9}")
    try SafetensorsWriter(path: path, tensors: [], metadata: nil).commit()
    #expect(try contents(path) == [8, 0, 0, 0, 0, 0, 0, 0] + Array("{}      ".utf8))
  }

  @Test("Packed 6-bit floats are laid out by their bits")
  func packed() throws {
    let scratch = try Scratch()
    let path = scratch("a.safetensors")
    let writer = try SafetensorsWriter(
      path: path,
      tensors: [
        .init(name: "a", dtype: .float6E3M2, shape: [4]),
        .init(name: "b", dtype: .float6E2M3, shape: [2, 4]),
        .init(name: "c", dtype: .uint8, shape: [1]),
      ])
    #expect(writer.entries.map(\.name) == ["c", "a", "b"])
    #expect(writer.entries.map(\.byteRange.count) == [1, 3, 6])
    try [UInt8](repeating: 7, count: 1).withUnsafeBytes { try writer.write($0) }
    try [UInt8](repeating: 7, count: 3).withUnsafeBytes { try writer.write($0) }
    try [UInt8](repeating: 7, count: 6).withUnsafeBytes { try writer.write($0) }
    try writer.commit()
    #expect(try SafetensorsFile(path: path).entries == writer.entries)
  }

  @Test("A writer that is dropped leaves nothing, and the old file stays whole")
  func dropped() throws {
    let scratch = try Scratch()
    let path = try scratch.file("a.safetensors", [1, 2, 3])
    do {
      let writer = try SafetensorsWriter(
        path: path, tensors: [.init(name: "a", dtype: .float32, shape: [4])])
      try [UInt8](repeating: 0, count: 8).withUnsafeBytes { try writer.write($0) }
      #expect(try scratch.names().count == 2)
      #expect(
        failure { () throws(CheckpointError) in try writer.commit() }
          == .wrongByteCount(path: path, tensor: "a", expected: 16, actual: 8))
    }
    #expect(try scratch.names() == ["a.safetensors"])
    #expect(try contents(path) == [1, 2, 3])
  }

  @Test("Too many bytes, repeated and reserved names and impossible shapes are refused")
  func misuse() throws {
    let scratch = try Scratch()
    let path = scratch("a.safetensors")
    func refused(_ tensors: [SafetensorsWriter.Tensor]) -> CheckpointError? {
      failure { () throws(CheckpointError) in
        _ = try SafetensorsWriter(path: path, tensors: tensors)
      }
    }
    let tensor = SafetensorsWriter.Tensor(name: "a", dtype: .float32, shape: [1])
    #expect(refused([tensor, tensor])?.kind == .misuse)
    #expect(refused([.init(name: "__metadata__", dtype: .int8, shape: [])])?.kind == .misuse)
    #expect(refused([.init(name: "a", dtype: .int8, shape: [-1])])?.kind == .misuse)
    #expect(refused([.init(name: "a", dtype: .int8, shape: [.max, 2])])?.kind == .misuse)
    #expect(refused([.init(name: "a", dtype: .float4, shape: [3])])?.kind == .misuse)
    let most = SafetensorsWriter.Tensor(name: "b", dtype: .int8, shape: [.max / 8])
    #expect(refused([most, .init(name: "a", dtype: .int8, shape: [.max / 8])]) == nil)
    let writer = try SafetensorsWriter(path: path, tensors: [tensor])
    let error = failure { () throws(CheckpointError) in
      try [UInt8](repeating: 0, count: 5).withUnsafeBufferPointer {
        (bytes) throws(CheckpointError) in try writer.write(UnsafeRawBufferPointer(bytes))
      }
    }
    #expect(error == .wrongByteCount(path: path, tensor: "a", expected: 4, actual: 5))
    #expect(try scratch.names().count == 1)
  }

  @Test("Shards are named, filled and indexed as save_pretrained does, and read back")
  func shards() throws {
    let scratch = try Scratch()
    let tensors = (0..<5).map {
      SafetensorsWriter.Tensor(name: "t\($0)", dtype: .uint8, shape: [4])
    }
    let sharded = try ShardedSafetensorsWriter(
      directory: scratch.path, tensors: tensors, shardLimit: 8)
    #expect(sharded.shards.map(\.tensors.count) == [2, 2, 1])
    #expect(sharded.shards[1].fileName == "model-00002-of-00003.safetensors")
    try sharded.write { (entry, writer) throws(CheckpointError) in
      let bytes = [UInt8](repeating: entry.name.utf8.last ?? 0, count: 4)
      try bytes.withUnsafeBufferPointer { (bytes) throws(CheckpointError) in
        try writer.write(UnsafeRawBufferPointer(bytes))
      }
    }
    let checkpoint = try SafetensorsCheckpoint(directory: scratch.path)
    #expect(checkpoint.names == tensors.map(\.name))
    let (file, entry) = try #require(checkpoint.entry("t3"))
    #expect(file.path.hasSuffix("model-00002-of-00003.safetensors"))
    #expect(Array(file.bytes(of: entry)) == [51, 51, 51, 51])
    #expect(checkpoint.entry("t9") == nil)
    // One that is larger than the limit stands alone, before the shard that is open.
    let sizes = [3, 20, 4, 5].enumerated().map {
      SafetensorsWriter.Tensor(name: "s\($0)", dtype: .uint8, shape: [$1])
    }
    let uneven = try ShardedSafetensorsWriter(
      directory: scratch.path, tensors: sizes, shardLimit: 8)
    #expect(uneven.shards.map { $0.tensors.map(\.name) } == [["s1"], ["s0", "s2"], ["s3"]])
    let single = try ShardedSafetensorsWriter(directory: scratch.path, tensors: tensors)
    #expect(single.shards.map(\.fileName) == ["model.safetensors"])
  }

  @Test("An index that leaves the directory or contradicts its shards is refused by name")
  func hostileIndex() throws {
    let scratch = try Scratch()
    try SafetensorsWriter(path: scratch("s.safetensors"), tensors: []).commit()
    func refused(_ map: String) throws -> CheckpointError? {
      _ = try scratch.file("model.safetensors.index.json", Array(map.utf8))
      return failure { () throws(CheckpointError) in
        _ = try SafetensorsCheckpoint(directory: scratch.path)
      }
    }
    for name in ["../s.safetensors", "/etc/passwd", "..", "", "a/b", "a\\u0000b", "a\\\\b"] {
      let error = try refused(#"{"weight_map":{"x":"\#(name)"}}"#)
      guard case .index(_, let reason)? = error else {
        Issue.record("\(name): \(String(describing: error))")
        continue
      }
      #expect(reason.contains("\"x\""))
    }
    #expect(
      try refused(#"{"weight_map":{"x":"none.safetensors"}}"#)
        == .missing(path: scratch("none.safetensors")))
    let lacking = try refused(#"{"weight_map":{"x":"s.safetensors"}}"#)
    #expect(lacking?.description.contains("\"x\"") == true && lacking?.kind == .badData)
    #expect(try refused(#"{"weight_map":[]}"#)?.kind == .badData)
    #expect(try refused(#"{"weight_map":{"x":1}}"#)?.kind == .badData)
    #expect(try refused("{")?.kind == .badData)
    #expect(try refused(#"{"weight_map":{}}"#) == nil)
    try FileManager.default.removeItem(atPath: scratch("model.safetensors.index.json"))
    let none = failure { () throws(CheckpointError) in
      _ = try SafetensorsCheckpoint(directory: scratch.path)
    }
    #expect(none?.kind == .badData)
    let absent = failure { () throws(CheckpointError) in
      _ = try SafetensorsCheckpoint(directory: scratch("absent"))
    }
    #expect(absent == .missing(path: scratch("absent")))
  }
}

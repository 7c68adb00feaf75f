import Checkpoints
import Foundation
import Testing

/// The defect of a file, or nil when it is valid.
private func defectOf(_ bytes: [UInt8]) -> GGUFDefect? {
  do throws(GGUFDefect) {
    _ = try parse(bytes)
    return nil
  } catch {
    return error
  }
}

extension GGUFBuilder {
  var defect: GGUFDefect? { defectOf(bytes) }
}

private func parse(_ bytes: [UInt8]) throws(GGUFDefect) -> GGUFHeader {
  try bytes.withUnsafeBufferPointer { (bytes) throws(GGUFDefect) in
    try GGUFHeader(parsing: UnsafeRawBufferPointer(bytes))
  }
}

@Suite("GGUF files")
struct GGUFFileTests {
  @Test("Metadata of a file of the Python package is read with its types, in order")
  func metadata() throws {
    let file = try GGUFFile(path: fixture("gguf-blocks.gguf"))
    #expect(file.version == 3)
    #expect(file.metadata.first?.key == "general.architecture")
    #expect(file["general.architecture"] == .string("blocks"))
    #expect(file["test.signed"] == .int16(-5))
    #expect(file["test.large"] == .uint64(1 << 63 + 1))
    #expect(file["test.large"]?.intValue == nil)
    #expect(file["test.double"]?.doubleValue == 0.1)
    #expect(file["test.numbers"] == .array([.float32(1.5), .float32(-2)]))
    #expect(file["test.words"]?.arrayValue?.map(\.stringValue) == ["ab", "", "\u{E9}"])
    #expect(file["test.flag"]?.boolValue == true)
    #expect(file["none"] == nil)
    #expect(GGUFValue.float32(9.999999747378752e-06).doubleValue == 1e-5)
    let tensor = try #require(file.tensor(named: "Q4_K.blocks"))
    #expect(tensor.type == .q4K && tensor.shape == [4, 256] && tensor.byteRange.count == 4 * 144)
  }

  @Test("Every storage type is dequantised bit for bit as the Python package does")
  func dequantization() throws {
    let file = try GGUFFile(path: fixture("gguf-blocks.gguf"))
    var checked: Set<GGUFTensorType> = []
    for tensor in file.tensors where tensor.name.hasSuffix(".blocks") {
      let name = tensor.name.replacingOccurrences(of: ".blocks", with: ".expected")
      let expected = try #require(file.tensor(named: name))
      let bytes = file.bytes(of: expected)
      let output = UnsafeMutableBufferPointer<Float>.allocate(capacity: tensor.elementCount)
      defer { output.deallocate() }
      output.initialize(repeating: .nan)
      try file.dequantize(tensor.name, into: output)
      let differing = (0..<output.count).filter { index in
        output[index].bitPattern
          != bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)
      }
      #expect(differing.isEmpty, "\(tensor.type.name): elements \(differing.prefix(4))")
      // Some rows alone give the same as the whole.
      let row = tensor.rowLength
      let part = UnsafeMutableBufferPointer<Float>.allocate(capacity: 2 * row)
      defer { part.deallocate() }
      part.initialize(repeating: .nan)
      try file.dequantize(tensor, rows: 1..<3, into: part)
      #expect((0..<2 * row).allSatisfy { part[$0].bitPattern == output[row + $0].bitPattern })
      checked.insert(tensor.type)
    }
    #expect(checked.union([.f32]) == Set(GGUFTensorType.dequantizable))
  }

  @Test("A type that cannot be dequantised is named, with those that can")
  func unsupportedType() throws {
    let scratch = try Scratch()
    var builder = GGUFBuilder(data: 66)
    builder.tensors = [("x", [256], 16, 0)]
    let file = try GGUFFile(path: scratch.file("a.gguf", builder.bytes))
    let output = UnsafeMutableBufferPointer<Float>.allocate(capacity: 256)
    defer { output.deallocate() }
    do throws(CheckpointError) {
      try file.dequantize("x", into: output)
      Issue.record("accepted")
    } catch {
      #expect(error.kind == .badData)
      #expect(error.description.contains("IQ2_XXS") && error.description.contains("Q6_K"))
    }
  }

  @Test("Wrong beginnings, versions and byte orders are named")
  func beginnings() {
    #expect(GGUFBuilder().defect == nil)
    #expect(GGUFBuilder(version: 2).defect == nil)
    #expect(GGUFBuilder(version: 1).defect == .version(found: 1, supported: [2, 3]))
    #expect(GGUFBuilder(version: 3 << 24).defect == .byteOrder)
    #expect(defectOf(Array("GGML".utf8) + [3, 0, 0, 0]) == .magic)
    guard case .truncated = defectOf(Array("GGUF".utf8)) else {
      Issue.record("truncated")
      return
    }
    guard case .count = GGUFBuilder(tensorCount: .max).defect,
      case .count = GGUFBuilder(entryCount: 1 << 40).defect
    else {
      Issue.record("counts")
      return
    }
  }

  @Test("Hostile metadata is named: unknown types, huge arrays, nesting, duplicates, bad UTF-8")
  func hostileMetadata() {
    func with(_ type: UInt32, _ value: [UInt8]) -> GGUFDefect? {
      GGUFBuilder(entries: [("k", type, value)]).defect
    }
    let integer = GGUFBuilder.integer(UInt32(1))
    #expect(with(13, integer) == .valueType(key: "k", found: 13))
    let huge = GGUFBuilder.integer(UInt32(8)) + GGUFBuilder.integer(UInt64.max)
    guard case .count = with(9, huge), case .truncated = with(8, GGUFBuilder.integer(UInt64.max))
    else {
      Issue.record("lengths")
      return
    }
    var nested: [UInt8] = []
    for _ in 0..<100 { nested += GGUFBuilder.integer(UInt32(9)) + GGUFBuilder.integer(UInt64(1)) }
    #expect(with(9, nested) == .nesting(key: "k", limit: 4))
    guard case .notUTF8 = with(8, GGUFBuilder.integer(UInt64(2)) + [0xC3, 0x28]) else {
      Issue.record("UTF-8")
      return
    }
    #expect(
      GGUFBuilder(entries: [("k", 4, integer), ("k", 4, integer)]).defect
        == .duplicate(what: "metadata key \"k\""))
    for alignment: UInt32 in [0, 3, 33] {
      let entry = ("general.alignment", UInt32(4), GGUFBuilder.integer(alignment))
      #expect(GGUFBuilder(entries: [entry]).defect == .alignment(found: "uint32(\(alignment))"))
    }
  }

  @Test("Hostile tensors are named: types, ranks, overflows, rows, alignment, ranges, overlaps")
  func hostileTensors() {
    func with(_ extents: [UInt64], type: UInt32 = 0, offset: UInt64 = 0) -> GGUFDefect? {
      GGUFBuilder(tensors: [("t", extents, type, offset)], data: 64).defect
    }
    #expect(with([16]) == nil)
    #expect(with([16], type: 4) == .tensorType(tensor: "t", found: 4))
    #expect(with([1, 1, 1, 1, 1]) == .rank(tensor: "t", found: 5, limit: 4))
    #expect(with([.max]) == .shapeOverflow(tensor: "t", extents: [.max]))
    #expect(with([1 << 40, 1 << 40]) == .shapeOverflow(tensor: "t", extents: [1 << 40, 1 << 40]))
    #expect(
      with([0, 1 << 40, 1 << 40]) == .shapeOverflow(tensor: "t", extents: [0, 1 << 40, 1 << 40]))
    #expect(
      with([33], type: 8) == .rowLength(tensor: "t", type: .q80, found: 33, blockSize: 32))
    #expect(with([8], offset: 8) == .misaligned(tensor: "t", offset: 8, alignment: 32))
    #expect(with([17]) == .outOfRange(tensor: "t", end: 68, available: 64))
    #expect(
      with([1], offset: .max - 31) == .outOfRange(tensor: "t", end: .max - 27, available: 64))
    var builder = GGUFBuilder(data: 64)
    builder.tensors = [("a", [16], 0, 0), ("b", [8], 0, 32)]
    #expect(builder.defect == .overlap(tensor: "b", previous: "a"))
    builder.tensors = [("a", [8], 0, 32), ("a", [8], 0, 0)]
    #expect(builder.defect == .duplicate(what: "tensor \"a\""))
  }

  @Test("No one of 20 000 damaged files crashes; what is accepted can be dequantised")
  func mutations() throws {
    let original = try contents(fixture("gguf-blocks.gguf"))
    let start = try GGUFFile(path: fixture("gguf-blocks.gguf")).tensors
      .map(\.byteRange.lowerBound).min()
    let header = try #require(start)
    var generator = SeededGenerator(state: 11)
    var accepted = 0
    for round in 0..<20_000 {
      let bytes = mutated(original, header: header, using: &generator)
      do throws(GGUFDefect) {
        let tensors = try parse(bytes).tensors
        accepted += 1
        for tensor in tensors { #expect(tensor.byteRange.upperBound <= bytes.count) }
      } catch {
        #expect(!error.description.isEmpty)
        continue
      }
      guard round % 20 == 0 else { continue }
      let file = try GGUFFile(mapping: MappedFile(copying: bytes, path: "damaged"))
      for tensor in file.tensors where GGUFTensorType.dequantizable.contains(tensor.type) {
        let output = UnsafeMutableBufferPointer<Float>.allocate(capacity: tensor.elementCount)
        defer { output.deallocate() }
        try file.dequantize(tensor.name, into: output)
      }
    }
    #expect(accepted > 100 && accepted < 15_000, "\(accepted)")
  }
}

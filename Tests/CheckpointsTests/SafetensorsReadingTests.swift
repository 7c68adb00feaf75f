import Checkpoints
import Foundation
import Testing

/// A file from a header text and a number of zero data bytes.
private func file(_ header: String, data: Int = 0) -> [UInt8] {
  let text = Array(header.utf8)
  return withUnsafeBytes(of: UInt64(text.count).littleEndian, Array.init) + text
    + [UInt8](repeating: 0, count: data)
}

private func parse(_ bytes: [UInt8]) throws(SafetensorsDefect) -> SafetensorsHeader {
  try bytes.withUnsafeBufferPointer { (bytes) throws(SafetensorsDefect) in
    try SafetensorsHeader(parsing: UnsafeRawBufferPointer(bytes))
  }
}

/// The defect of a file, or nil when it is valid.
private func defect(_ bytes: [UInt8]) -> SafetensorsDefect? {
  do throws(SafetensorsDefect) {
    _ = try parse(bytes)
    return nil
  } catch {
    return error
  }
}

private func entry(_ dtype: String, _ shape: String, _ begin: String, _ end: String) -> String {
  #"{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":[\#(begin),\#(end)]}"#
}

@Suite("Reading safetensors")
struct SafetensorsReadingTests {
  @Test("A file of the Python package is read with every dtype, in the order of the data")
  func everyDType() throws {
    let file = try SafetensorsFile(path: fixture("dtypes.safetensors"))
    #expect(file.entries.count == 28)
    #expect(file.metadata.map(\.key) == ["format"])
    #expect(file.metadataValue("format") == "pt")
    #expect(file.metadataValue("none") == nil)
    let present = Set(file.entries.map(\.dtype))
    #expect(
      present == Set(SafetensorsDType.allCases).subtracting([.float6E2M3, .float6E3M2]))
    let scalar = try #require(file["scalar"])
    #expect(scalar.shape == [] && scalar.elementCount == 1)
    #expect(file.bytes(of: scalar).loadUnaligned(as: Float.self) == 1.5)
    let empty = try #require(file["a.empty"])
    #expect(empty.shape == [3, 0] && file.bytes(of: empty).isEmpty)
    let packed = try #require(file["packed"])
    #expect(packed.dtype == .float4 && packed.shape == [3, 4] && packed.byteRange.count == 6)
    for name in ["z.uint64", "z.bfloat16", "z.float8_e4m3fn"] {
      let entry = try #require(file[name])
      #expect(Array(file.bytes(of: entry)) == Array(0..<UInt8(entry.byteRange.count)))
    }
    #expect(file["absent"] == nil)
    let last = try #require(file.entries.last)
    #expect(last.byteRange.upperBound == file.mapping.count)
  }

  @Test("Names are compared by bytes: two ways to compose an accent are two tensors")
  func canonicalEquivalence() throws {
    let file = try SafetensorsFile(path: fixture("dtypes.safetensors"))
    #expect(file["caf\u{E9}"]?.shape == [1])
    #expect(file["cafe\u{301}"]?.shape == [2])
  }

  @Test("Data is not copied: it lies in the mapping")
  func zeroCopy() throws {
    let file = try SafetensorsFile(path: fixture("dtypes.safetensors"))
    let entry = try #require(file["z.float64"])
    let bytes = file.bytes(of: entry)
    let start = try #require(file.mapping.bytes.baseAddress)
    #expect(bytes.baseAddress == start + entry.byteRange.lowerBound)
    #expect(Int(bitPattern: bytes.baseAddress) % 8 == 0)
  }

  @Test("Headers without metadata, with null metadata, unknown fields and padding are read")
  func lenientHeaders() throws {
    let tensor = entry("F32", "[2]", "0", "8")
    #expect(try parse(file("{}")).entries.isEmpty)
    #expect(try parse(file(#"{"a":\#(tensor)}   "#, data: 8)).entries.count == 1)
    #expect(try parse(file(#"{"__metadata__":null,"a":\#(tensor)}"#, data: 8)).metadata.isEmpty)
    let extra = #"{"dtype":"U8","shape":[],"data_offsets":[0,1],"note":"x"}"#
    #expect(try parse(file(#"{"a":\#(extra)}"#, data: 1)).entries[0].dtype == .uint8)
    let backwards = #"{"b":\#(entry("U8", "[2]", "1", "3")),"a":\#(entry("U8", "[]", "0", "1"))}"#
    #expect(try parse(file(backwards, data: 3)).entries.map(\.name) == ["a", "b"])
    let sixBits = entry("F6_E2M3", "[4]", "0", "3")
    #expect(try parse(file(#"{"a":\#(sixBits)}"#, data: 3)).entries[0].dtype == .float6E2M3)
  }

  @Test("A malformed beginning is named: too short, too long, past the end, not JSON")
  func beginnings() {
    #expect(defect([]) == .tooShort(actual: 0))
    #expect(defect([1, 2, 3, 4, 5, 6, 7]) == .tooShort(actual: 7))
    let huge = [UInt8](repeating: 0xFF, count: 16)
    #expect(defect(huge) == .headerTooLong(length: .max, limit: 100_000_000))
    let tooLong = withUnsafeBytes(of: UInt64(100_000_001), Array.init) + Array("{}".utf8)
    #expect(defect(tooLong) == .headerTooLong(length: 100_000_001, limit: 100_000_000))
    let cut = Array(file(#"{"a":\#(entry("F32", "[2]", "0", "8"))}"#, data: 8).prefix(30))
    #expect(defect(cut) == .headerPastEnd(length: 54, available: 22))
    #expect(defect(file("")) == .headerStart(found: nil))
    #expect(defect(file(" {}")) == .headerStart(found: 0x20))
    #expect(defect(file("[]")) == .headerStart(found: 0x5B))
    for text in ["{", "{}{}", "{\"a\":}", "{\"a\":1,}", "{'a':1}", "{\"a\":NaN}"] {
      guard case .headerNotJSON = defect(file(text)) else {
        Issue.record("\(text): \(String(describing: defect(file(text))))")
        continue
      }
    }
    let invalid = withUnsafeBytes(of: UInt64(9), Array.init) + Array("{\"a".utf8) + [0xFF, 0xFE]
    guard case .headerNotJSON = defect(invalid + Array("\":1}".utf8)) else {
      Issue.record("invalid UTF-8")
      return
    }
    let deep = String(repeating: "{\"a\":", count: 5000) + "1" + String(repeating: "}", count: 5000)
    guard case .headerNotJSON = defect(file(deep)) else {
      Issue.record("deep nesting")
      return
    }
  }

  @Test("Duplicate names and metadata that is no text are named")
  func duplicatesAndMetadata() {
    let tensor = entry("U8", "[]", "0", "1")
    guard
      case .headerNotJSON(let reason) = defect(file(#"{"a":\#(tensor),"a":\#(tensor)}"#, data: 1))
    else {
      Issue.record("duplicate")
      return
    }
    #expect(reason.contains("\"a\""))
    #expect(
      defect(file(#"{"__metadata__":{"k":1}}"#)) == .metadataNotStrings(key: "k"))
    #expect(defect(file(#"{"__metadata__":["k"]}"#)) == .metadataNotStrings(key: nil))
  }

  @Test("Malformed entries are named with the tensor and the field")
  func entries() {
    func field(_ json: String) -> String? {
      guard case .field("a", let field, _, _) = defect(file(#"{"a":\#(json)}"#, data: 8)) else {
        return nil
      }
      return field
    }
    #expect(field("1") == "the entry")
    #expect(field(#"{"shape":[],"data_offsets":[0,8]}"#) == "dtype")
    #expect(field(#"{"dtype":3,"shape":[],"data_offsets":[0,8]}"#) == "dtype")
    #expect(field(#"{"dtype":"F32","data_offsets":[0,8]}"#) == "shape")
    #expect(field(entry("F32", "[-1]", "0", "8")) == "shape")
    #expect(field(entry("F32", "[2.0]", "0", "8")) == "shape")
    #expect(field(entry("F32", "[1e400]", "0", "8")) == "shape")
    #expect(field(entry("F32", "[18446744073709551616]", "0", "8")) == "shape")
    #expect(field(entry("F32", "\"2\"", "0", "8")) == "shape")
    #expect(field(entry("F32", "[2]", "-8", "0")) == "data_offsets")
    #expect(field(entry("F32", "[2]", "0", "null")) == "data_offsets")
    #expect(field(#"{"dtype":"F32","shape":[2],"data_offsets":[0]}"#) == "data_offsets")
    #expect(
      defect(file(#"{"a":\#(entry("F33", "[2]", "0", "8"))}"#, data: 8))
        == .unknownDType(tensor: "a", found: "F33"))
  }

  @Test("Shapes that overflow and sizes that do not fit are named with both numbers")
  func sizes() {
    func sized(_ dtype: String, _ shape: String, _ begin: Int, _ end: Int) -> SafetensorsDefect? {
      defect(file(#"{"a":\#(entry(dtype, shape, "\(begin)", "\(end)"))}"#, data: 8))
    }
    let large = "[4611686018427387904, 4]"
    #expect(
      sized("U8", large, 0, 8)
        == .shapeOverflow(tensor: "a", shape: [4_611_686_018_427_387_904, 4]))
    let hidden = "[4611686018427387904, 4, 0]"
    #expect(
      sized("U8", hidden, 0, 0)
        == .shapeOverflow(tensor: "a", shape: [4_611_686_018_427_387_904, 4, 0]))
    #expect(
      sized("F64", "[9223372036854775807]", 0, 8) == .shapeOverflow(tensor: "a", shape: [Int.max]))
    #expect(
      sized("F32", "[3]", 0, 8)
        == .byteCount(tensor: "a", dtype: .float32, shape: [3], expected: 12, actual: 8))
    #expect(sized("F32", "[2]", 8, 0) == .offsetsReversed(tensor: "a", begin: 8, end: 0))
    #expect(sized("F4", "[3]", 0, 2) == .notWholeBytes(tensor: "a", shape: [3], bitCount: 12))
    #expect(sized("F32", "[3]", 0, 12) == .outOfRange(tensor: "a", end: 12, available: 8))
    #expect(sized("F32", "[1]", 0, 4) == .trailingBytes(expected: 4, actual: 8))
    #expect(sized("F32", "[1]", 4, 8) == .hole(tensor: "a", begin: 4, expected: 0))
  }

  @Test("Overlaps and holes between tensors are named")
  func layout() {
    func two(_ first: (Int, Int), _ second: (Int, Int), data: Int) -> SafetensorsDefect? {
      let a = entry("U8", "[\(first.1 - first.0)]", "\(first.0)", "\(first.1)")
      let b = entry("U8", "[\(second.1 - second.0)]", "\(second.0)", "\(second.1)")
      return defect(file(#"{"a":\#(a),"b":\#(b)}"#, data: data))
    }
    #expect(two((0, 4), (4, 6), data: 6) == nil)
    #expect(
      two((0, 4), (3, 6), data: 6)
        == .overlap(tensor: "b", previous: "a", begin: 3, expected: 4))
    #expect(two((0, 4), (0, 4), data: 4) != nil)
    #expect(two((0, 4), (5, 6), data: 6) == .hole(tensor: "b", begin: 5, expected: 4))
  }

  @Test("Missing files, directories and malformed files are told apart by kind")
  func kinds() throws {
    let scratch = try Scratch()
    func failure(_ path: String) -> CheckpointError? {
      do throws(CheckpointError) {
        _ = try SafetensorsFile(path: path)
        return nil
      } catch {
        return error
      }
    }
    #expect(failure(scratch("no")) == .missing(path: scratch("no")))
    #expect(failure(scratch("no"))?.kind == .inputMissing)
    #expect(failure(scratch.path)?.kind == .inputMissing)
    let bad = try scratch.file("bad.safetensors", [1, 2, 3])
    #expect(failure(bad)?.kind == .badData)
    #expect(failure(bad)?.description.contains(bad) == true)
    let empty = try scratch.file("empty.safetensors", [])
    #expect(failure(empty) == .safetensors(path: empty, defect: .tooShort(actual: 0)))
    #expect(try MappedFile(path: empty).bytes.isEmpty)
  }

  @Test("No one of 20 000 damaged files crashes; what is accepted stays inside the file")
  func mutations() throws {
    let original = try contents(fixture("dtypes.safetensors"))
    let header = 8 + Int(original.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
    var generator = SeededGenerator(state: 5)
    var accepted = 0
    for _ in 0..<20_000 {
      let bytes = mutated(original, header: header, using: &generator)
      do throws(SafetensorsDefect) {
        let entries = try parse(bytes).entries
        accepted += 1
        for entry in entries {
          #expect(entry.byteRange.lowerBound >= 8 && entry.byteRange.upperBound <= bytes.count)
          #expect(entry.byteRange.count * 8 == entry.elementCount * entry.dtype.bitCount)
        }
      } catch {
        #expect(!error.description.isEmpty)
      }
    }
    // Damage in the data and in names leaves a valid file.
    #expect(accepted > 100 && accepted < 10_000, "\(accepted)")
  }
}

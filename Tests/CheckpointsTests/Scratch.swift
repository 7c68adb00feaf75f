import Checkpoints
import Foundation

/// A directory of its own for one test, removed with the object.
final class Scratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/checkpoints-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file directly and returns its path.
  func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: self(name)))
    return self(name)
  }

  /// The names in a directory, hidden ones too.
  func names(_ directory: String? = nil) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory ?? path).sorted()
  }
}

/// What a body throws; nil for nothing.
func failure(_ body: () throws(CheckpointError) -> Void) -> CheckpointError? {
  do throws(CheckpointError) {
    try body()
    return nil
  } catch {
    return error
  }
}

/// The bytes of a file.
func contents(_ path: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

/// The path of a committed file.
func fixture(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Fixtures/\(name)"
}

/// A small generator with a fixed sequence (SplitMix64), so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// Damages a file at random: flipped bits, extreme numbers, cuts, insertions, copies.
func mutated(_ original: [UInt8], header: Int, using generator: inout SeededGenerator) -> [UInt8] {
  var bytes = original
  for _ in 0..<Int.random(in: 1...3, using: &generator) where !bytes.isEmpty {
    let inHeader = Int.random(in: 0..<10, using: &generator) > 0
    let place = Int.random(
      in: 0..<(inHeader ? min(header, bytes.count) : bytes.count), using: &generator)
    switch Int.random(in: 0..<9, using: &generator) {
    case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
    case 1: bytes[place] = UInt8.random(in: 0...255, using: &generator)
    case 2: bytes.removeLast(Int.random(in: 0...bytes.count, using: &generator))
    case 3: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
    case 4: bytes.remove(at: place)
    case 5:  // an extreme integer
      let number: UInt64 =
        [
          .max, UInt64(Int64.max), 1 << 63, 1 << 32, 1 << 31, 0, 100_000_001, 0x7FFF_FFFF_FFFF_FFF0,
        ].randomElement(using: &generator) ?? 0
      let size = [4, 8].randomElement(using: &generator) ?? 8
      for index in 0..<size where place + index < bytes.count {
        bytes[place + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * index))
      }
    case 6:  // a digit or sign where a number may stand
      let text = Array("-9e.0\"{[]},:\\18446744073709551616".utf8)
      bytes[place] = text.randomElement(using: &generator) ?? 0
    case 7:  // a repeated piece
      let length = min(Int.random(in: 1...64, using: &generator), bytes.count - place)
      bytes.insert(contentsOf: bytes[place..<place + length], at: place)
    default: bytes += (0..<Int.random(in: 1...40, using: &generator)).map { _ in 0 }
    }
  }
  return bytes
}

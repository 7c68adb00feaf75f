import Checkpoints
public import Foundation

/// An event file that TensorBoard shows: scalars by step.
///
/// A file is a sequence of records: the length as 64 bits, its checksum, the bytes, their checksum;
/// the bytes are a protocol buffer `Event`. Checksums are CRC-32C, rotated and shifted.
///
/// - Note: Source: TensorFlow's event.proto and record_writer, format "brain.Event:2".
public final class TensorBoardLog {
  private let handle: FileHandle
  /// The file.
  public let path: String

  /// Starts a file in a directory; TensorBoard joins the files of one directory to one run.
  ///
  /// - Parameters:
  ///   - directory: The run's directory, which must exist.
  ///   - time: Part of the file's name, by which TensorBoard orders them.
  /// - Throws: `CheckpointError` when it cannot be written.
  public init(directory: String, time: Date = Date()) throws {
    let seconds = Int(time.timeIntervalSince1970)
    var number = 0
    var path = ""
    repeat {
      path = "\(directory)/events.out.tfevents.\(seconds).graft.\(number)"
      number += 1
    } while FileManager.default.fileExists(atPath: path)
    self.path = path
    guard FileManager.default.createFile(atPath: path, contents: nil),
      let handle = FileHandle(forWritingAtPath: path)
    else { throw CheckpointError.cannotWrite(path: path, reason: "it cannot be created") }
    self.handle = handle
    var event = ProtocolBuffer()
    event.put(1, double: time.timeIntervalSince1970)
    event.put(3, bytes: Array("brain.Event:2".utf8))
    try write(event.bytes)
  }

  deinit { try? handle.close() }

  /// Appends scalars.
  ///
  /// - Parameters:
  ///   - step: Updates made.
  ///   - scalars: Names and values.
  ///   - time: When.
  /// - Throws: `CheckpointError` when the disk is full or gone.
  public func append(
    step: Int, _ scalars: [(name: String, value: Double)], time: Date = Date()
  ) throws {
    var summary = ProtocolBuffer()
    for (name, value) in scalars {
      var entry = ProtocolBuffer()
      entry.put(1, bytes: Array(name.utf8))
      entry.put(2, float: Float(value))
      summary.put(1, bytes: entry.bytes)
    }
    var event = ProtocolBuffer()
    event.put(1, double: time.timeIntervalSince1970)
    event.put(2, integer: UInt64(max(0, step)))
    event.put(5, bytes: summary.bytes)
    try write(event.bytes)
  }

  private func write(_ bytes: [UInt8]) throws {
    let length = littleEndian(UInt64(bytes.count))
    let record =
      length + littleEndian(maskedChecksum(length)) + bytes + littleEndian(maskedChecksum(bytes))
    do {
      try handle.write(contentsOf: Data(record))
    } catch {
      throw CheckpointError.cannotWrite(path: path, reason: error.localizedDescription)
    }
  }
}

/// The few encodings of protocol buffers that an event needs.
private struct ProtocolBuffer {
  private(set) var bytes: [UInt8] = []

  mutating func put(_ field: UInt64, integer: UInt64) {
    varint(field << 3)
    varint(integer)
  }

  mutating func put(_ field: UInt64, double: Double) {
    varint(field << 3 | 1)
    bytes += littleEndian(double.bitPattern)
  }

  mutating func put(_ field: UInt64, float: Float) {
    varint(field << 3 | 5)
    bytes += littleEndian(float.bitPattern)
  }

  mutating func put(_ field: UInt64, bytes content: [UInt8]) {
    varint(field << 3 | 2)
    varint(UInt64(content.count))
    bytes += content
  }

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}

private func littleEndian<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// CRC-32C (polynomial 0x1EDC6F41, reflected), rotated right by 15 bits, plus a constant.
private func maskedChecksum(_ bytes: [UInt8]) -> UInt32 {
  var crc = UInt32.max
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
  }
  crc = ~crc
  return (crc >> 15 | crc << 17) &+ 0xA282_EAD8
}

import Foundation
import TestSupport
import Testing
import Training

@Suite struct TensorBoardLogTests {
  /// Lengths and fields of the records; scripts/interop/training.py lets the Python package read a
  /// whole run, checksums included.
  @Test func records() throws {
    try withTemporaryDirectory { directory in
      let time = Date(timeIntervalSince1970: 2)
      let log = try TensorBoardLog(directory: directory, time: time)
      try log.append(step: 300, [("loss", 0.5)], time: time)
      let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: log.path)))
      // 9 + 15 bytes of the version, then 9 + 3 + 2 + 2 + 6 + 5 of the scalar; 16 around each.
      #expect(bytes.count == 24 + 16 + 27 + 16)
      #expect(bytes[0..<8] == [24, 0, 0, 0, 0, 0, 0, 0])
      #expect(bytes[12..<21] == [9, 0, 0, 0, 0, 0, 0, 0, 0x40])
      #expect(String(decoding: bytes[23..<36], as: UTF8.self) == "brain.Event:2")
      let event = bytes[(24 + 16 + 12)..<(24 + 16 + 12 + 27)]
      #expect(
        Array(event) == [9, 0, 0, 0, 0, 0, 0, 0, 0x40, 16, 0xAC, 2, 42, 13, 10, 11, 10, 4]
          + Array("loss".utf8) + [21, 0, 0, 0, 0x3F])
      // A second log of the same second is another file.
      #expect(try TensorBoardLog(directory: directory, time: time).path != log.path)
    }
  }
}

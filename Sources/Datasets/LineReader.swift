import Foundation

/// Splits a text file into lines by bytes.
///
/// A line ends with LF, CRLF or the end of the file; the terminator is not part of it. A UTF-8 byte
/// order mark at the start of the file is skipped, and so are lines of nothing but spaces and tabs
/// (they count, so that line numbers are those of an editor). The file is mapped, not read: only the
/// pages that are looked at take memory.
struct LineReader: Sequence {
  /// The bytes of one line and its number, counted from 1.
  struct Line: Equatable {
    var number: Int
    var bytes: Data
  }

  let data: Data

  /// Lines of bytes in memory.
  init(data: Data) {
    self.data = data
  }

  /// Lines of a file.
  init(path: String) throws(DatasetError) {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw .missingFile(path: path)
    }
    guard !isDirectory.boolValue else {
      throw .unreadableFile(path: path, reason: "it is a directory, expected a JSONL file")
    }
    do {
      let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
      let attributes = try? FileManager.default.attributesOfItem(atPath: real)
      if attributes?[.type] as? FileAttributeType == .typeRegular {
        data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
      } else {
        // A pipe cannot be mapped, and cannot be opened twice.
        data = try FileHandle(forReadingFrom: URL(fileURLWithPath: path)).readToEnd() ?? Data()
      }
    } catch {
      throw .unreadableFile(path: path, reason: "\(error.localizedDescription)")
    }
  }

  func makeIterator() -> Iterator {
    Iterator(data: data)
  }

  struct Iterator: IteratorProtocol {
    private let data: Data
    private var position: Int
    private var number = 0

    init(data: Data) {
      self.data = data
      let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
      position = data.startIndex + (data.starts(with: mark) ? mark.count : 0)
    }

    mutating func next() -> Line? {
      while position < data.endIndex {
        let start = position
        var end = lineFeed(from: start) ?? data.endIndex
        position = end < data.endIndex ? end + 1 : end
        number += 1
        if end > start, data[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        let line = data[start..<end]
        guard line.contains(where: { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") })
        else { continue }
        return Line(number: number, bytes: line)
      }
      return nil
    }

    /// The index of the first line feed at or after an index.
    private func lineFeed(from start: Int) -> Int? {
      data.withUnsafeBytes { bytes in
        let offset = start - data.startIndex
        guard let base = bytes.baseAddress,
          let found = memchr(base + offset, Int32(UInt8(ascii: "\n")), bytes.count - offset)
        else { return nil }
        return data.startIndex + base.distance(to: found)
      }
    }
  }
}

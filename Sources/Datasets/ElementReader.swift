import Foundation

/// Splits a file that is one JSON array into its elements by bytes.
///
/// Elements have the number of the line that they begin on, counted from 1. Only brackets, commas
/// and strings are looked at; what stands between them is for the parser.
struct ElementReader {
  private let data: Data
  private let file: String
  private var position: Int
  private var line = 1
  private var isFirst = true
  private var isDone = false

  /// A reader of data whose first byte but white space and a byte order mark opens an array; nil for
  /// other data.
  init?(data: Data, file: String) {
    self.data = data
    self.file = file
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    position = data.startIndex + (data.starts(with: mark) ? mark.count : 0)
    skipSpace()
    guard position < data.endIndex, data[position] == UInt8(ascii: "[") else { return nil }
    position += 1
  }

  /// The next element, or nil after the last one.
  mutating func next() throws(DatasetError) -> LineReader.Line? {
    guard !isDone else { return nil }
    skipSpace()
    guard position < data.endIndex else { throw endless }
    if data[position] == UInt8(ascii: "]") {
      position += 1
      skipSpace()
      guard position == data.endIndex else { throw malformed("there is text behind the array") }
      isDone = true
      return nil
    }
    if !isFirst {
      guard data[position] == UInt8(ascii: ",") else {
        throw malformed("a comma is missing between elements of the array")
      }
      position += 1
      skipSpace()
    }
    isFirst = false
    let (start, number) = (position, line)
    try skipElement()
    return LineReader.Line(number: number, bytes: data[start..<position])
  }

  /// Moves to the comma or the bracket behind an element.
  private mutating func skipElement() throws(DatasetError) {
    let begin = data.startIndex
    let (offset, newlines) = data.withUnsafeBytes { bytes -> (Int, Int) in
      var (index, newlines, depth, isText) = (position - begin, 0, 0, false)
      while index < bytes.count {
        let byte = bytes[index]
        if byte == UInt8(ascii: "\n") { newlines += 1 }
        if isText {
          if byte == UInt8(ascii: "\\") { index += 1 }
          if byte == UInt8(ascii: "\"") { isText = false }
        } else {
          switch byte {
          case UInt8(ascii: "\""): isText = true
          case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
          case UInt8(ascii: "]") where depth == 0, UInt8(ascii: ",") where depth == 0:
            return (index, newlines)
          case UInt8(ascii: "}"), UInt8(ascii: "]"):
            depth -= 1
            if depth <= 0 { return (index + 1, newlines) }
          default: break
          }
        }
        index += 1
      }
      return (bytes.count + 1, newlines)
    }
    guard offset <= data.count else { throw endless }
    position = begin + offset
    line += newlines
  }

  private mutating func skipSpace() {
    while position < data.endIndex, [0x20, 0x09, 0x0A, 0x0D].contains(data[position]) {
      if data[position] == 0x0A { line += 1 }
      position += 1
    }
  }

  private var endless: DatasetError { malformed("the array that the file begins with has no end") }

  private func malformed(_ reason: String) -> DatasetError {
    .malformedLine(at: RecordLocation(file: file, line: line), reason: reason)
  }
}

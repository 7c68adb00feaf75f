import Tensors

/// One operation that all processes have to ask for in the same order.
struct CollectiveCall {
  /// What the operation is for, in the words of whoever asks.
  let label: String
  /// Its kind, and for some the root or the kind of sum.
  let operation: String
  let dtype: DType
  /// Elements that this process brings.
  let count: Int
  /// Counted from 1.
  let number: Int

  /// As others read it behind "rank 3 ".
  var description: String {
    "asks for '\(label)', \(operation) of \(dtype)[\(count)], its call \(number)"
  }

  /// The description in a fixed number of bytes: how processes see that they ask for the same.
  ///
  /// It begins with a hash of all of it, as long labels are cut off.
  var record: [UInt8] {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in description.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let head = (0..<8).map { UInt8(truncatingIfNeeded: hash >> UInt64(8 * $0)) }
    let text = Array(description.utf8.prefix(Self.recordCount - 8))
    return head + text + Array(repeating: 0, count: Self.recordCount - 8 - text.count)
  }

  static let recordCount = 192

  /// The description in a record, possibly cut off.
  static func description(of record: ArraySlice<UInt8>) -> String {
    String(decoding: record.dropFirst(8).prefix { $0 != 0 }, as: UTF8.self)
  }
}
